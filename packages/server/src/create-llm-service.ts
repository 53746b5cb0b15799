import type { MeterProvider } from '@opentelemetry/api';
import { type Config, readConfig } from './config.js';
import { createResponseCache } from './generate/cache.js';
import { chooseProviders } from './generate/choose-providers.js';
import type { Providers } from './generate/route.js';
import { LlmService } from './generate/service.js';
import type { Tool } from './generate/tools/tool.js';
import type { ToolLimits } from './generate/tools/toolbox.js';
import { createLogger, type Logger, logErrorFacts } from './observe/logger.js';
import { createMetrics } from './observe/metrics.js';

export interface CoreOptions {
  /** What the environment says unless given. */
  config?: Config;
  /** Who answers; chosen by `config.mode` unless given. */
  providers?: Providers;
  /** What the model may call; nothing unless given. */
  tools?: readonly Tool[];
  toolLimits?: Partial<ToolLimits>;
  logger?: Logger;
  /** Where what is counted goes; the process's global one unless given. */
  meterProvider?: MeterProvider;
}

const CACHE_BYTES = 64 * 1024 * 1024;
const MAX_RESPONSE_UNITS = 2_000_000;

/** The streaming core as the configuration has it, with no socket. */
export async function createLlmService(options: CoreOptions = {}): Promise<LlmService> {
  const config = options.config ?? readConfig(process.env);
  const logger = logErrorFacts(options.logger ?? createLogger(config.logLevel));
  const { systemPrompt, temperature, topP, topK, maxTokens, cache } = config;
  return new LlmService({
    providers: options.providers ?? (await chooseProviders(config, logger)),
    onMidstreamFailure: config.onMidstreamFailure,
    maxQueued: config.maxQueued,
    prompt: { systemPrompt, temperature, topP, topK, maxTokens },
    cache: cache.enabled
      ? createResponseCache({ ttlSeconds: cache.ttlSeconds, maxBytes: CACHE_BYTES })
      : undefined,
    tools: options.tools ?? [],
    toolLimits: options.toolLimits ?? {},
    maxResponseUnits: MAX_RESPONSE_UNITS,
    logger,
    metrics: createMetrics(options.meterProvider),
  });
}
