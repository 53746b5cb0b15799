import type { MeterProvider } from '@opentelemetry/api';
import { createResponseCache, type ResponseCache } from './generate/cache.js';
import { chooseProviders } from './upstream/choose-providers.js';
import type { Providers } from './upstream/failover.js';
import { LlmService } from './generate/service.js';
import type { Tool } from './generate/tools/tool.js';
import { createLogger, type Logger, logErrorFacts } from './observe/logger.js';
import { importRedis, REDIS_START_MS } from './redis/import-redis.js';
import type { SharedState } from './redis/shared-state.js';
import { createMetrics } from './observe/metrics.js';
import { ConfigError, type Environment, resolve } from './settings/resolve-settings.js';
import {
  CORE_SETTINGS,
  type CoreSettings,
  type Options,
  REDIS_SETTINGS,
  type RedisSettings,
} from './settings/settings.js';

export interface CreateLlmServiceOptions extends Options<CoreSettings & RedisSettings> {
  /** The providers, in the order in which they are called. The providers of `mode` unless given. */
  providers?: Providers | undefined;
  /** Functions that the model may call. */
  tools?: readonly Tool[] | undefined;
  logger?: Logger | undefined;
  /** Receives the metrics. The process's global meter provider unless given. */
  meterProvider?: MeterProvider | undefined;
  /** The environment variables. `process.env` unless given. */
  env?: Environment | undefined;
}

/** The options that are not settings. */
export type CoreOptions = Omit<CreateLlmServiceOptions, keyof (CoreSettings & RedisSettings)>;

const OTHER_OPTIONS: Record<keyof CoreOptions, true> = {
  providers: true,
  tools: true,
  logger: true,
  meterProvider: true,
  env: true,
};

/**
 * Creates the streaming core, without sockets. With `redis.url`, processes share cached answers and the slots
 * of providers; call `close()` to close the connections.
 *
 * @throws {ConfigError} an option or a variable has a value that is not allowed, or an option is unknown; or
 * Redis refuses the password, or has a certificate that is not trusted.
 */
export async function createLlmService(options: CreateLlmServiceOptions = {}): Promise<LlmService> {
  const caller = { name: 'createLlmService', otherOptions: Object.keys(OTHER_OPTIONS) };
  const table = { ...CORE_SETTINGS, ...REDIS_SETTINGS };
  const settings = resolve<CoreSettings & RedisSettings>(
    table,
    options,
    options.env ?? process.env,
    caller,
  );
  const { llm } = await createServiceFromSettings(settings, options);
  return llm;
}

/** Creates the streaming core. The settings are checked already. */
export async function createServiceFromSettings(
  settings: CoreSettings & RedisSettings,
  options: CoreOptions,
): Promise<{ llm: LlmService; shared: SharedState | undefined }> {
  const logger = logErrorFacts(options.logger ?? createLogger(settings.logLevel));
  const { systemPrompt, temperature, topP, topK, maxTokens, cache, limits } = settings;
  if (options.providers !== undefined) checkProviders(options.providers);
  const providers = options.providers ?? (await chooseProviders(settings, logger));
  const shared = await shareOverRedis(settings, logger);
  const createCache = (cacheOptions: CoreSettings['cache']): ResponseCache =>
    shared === undefined ? createResponseCache(cacheOptions) : shared.createCache(cacheOptions);
  const llm = new LlmService({
    providers,
    onMidstreamFailure: settings.onMidstreamFailure,
    prompt: { systemPrompt, temperature, topP, topK, maxTokens },
    cache: cache.enabled ? createCache(cache) : undefined,
    ...(shared && {
      createQueue: (queue) => shared.createQueue(queue),
      onClose: () => shared.close(),
    }),
    cacheScope: cache.scope,
    tools: options.tools ?? [],
    limits,
    logger,
    metrics: createMetrics(options.meterProvider),
  });
  return { llm, shared };
}

/** @throws {ConfigError} an entry is no `ProviderConfig`, such as a provider itself. */
function checkProviders(providers: readonly unknown[]): void {
  if (providers.length === 0) {
    throw new ConfigError('providers is empty; give it a provider, or leave it out');
  }
  for (const [i, config] of providers.entries()) {
    if (isProvider(Object(config).provider)) continue;
    const advice = isProvider(config)
      ? 'did you mean { provider }?'
      : 'give it { provider }, such as { provider: gemini({ apiKey }) }';
    throw new ConfigError(`providers[${i}] has no provider; ${advice}`);
  }
}

function isProvider(value: unknown): boolean {
  return typeof Object(value).stream === 'function';
}

/** Imports the modules for Redis. @returns undefined if `redis.url` is not set. */
async function shareOverRedis(
  { redis: { url, ca, keyPrefix } }: RedisSettings,
  logger: Logger,
): Promise<SharedState | undefined> {
  if (url === undefined) return undefined;
  const [createClient, { SharedState: Shared }] = await Promise.all([
    importRedis(),
    import('./redis/shared-state.js'),
  ]);
  const shared = new Shared({ url, ca, keyPrefix }, createClient, logger);
  try {
    await shared.reached(REDIS_START_MS);
  } catch (error) {
    shared.close();
    throw error;
  }
  return shared;
}
