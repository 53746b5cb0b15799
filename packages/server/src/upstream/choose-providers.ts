import type { Logger } from '../observe/logger.js';
import { ConfigError } from '../settings/resolve-settings.js';
import { CORE_SETTINGS, type CoreSettings } from '../settings/settings.js';
import type { Deadlines } from './provider-call.js';
import { docs } from '../providers/docs/docs.js';
import { gemini } from '../providers/gemini/gemini.js';
import { ollama, ollamaModels } from '../providers/ollama/ollama.js';
import type { ProviderConfig, Providers } from './failover.js';

const DEFAULT_OLLAMA_MODEL = 'llama3.2';
const PROBE_MS = 1_000;

/**
 * The providers of the mode. `auto` takes those that are available.
 *
 * @throws {ConfigError} the mode needs an API key and there is none.
 */
export async function chooseProviders(settings: CoreSettings, logger: Logger): Promise<Providers> {
  switch (settings.mode) {
    case 'api':
      return [api(settings)];
    case 'local':
      return [local(settings, settings.ollama.model)];
    case 'hybrid':
      return [api(settings), local(settings, settings.ollama.model)];
    case 'docs':
      return [builtIn()];
    case 'auto': {
      const model = await installedModel(settings, logger);
      const found: ProviderConfig[] = [];
      if (settings.gemini.apiKey !== undefined) found.push(api(settings));
      if (model !== undefined) found.push(local(settings, model));
      const [first = builtIn(), ...rest] = found;
      return [first, ...rest];
    }
  }
}

function api({ mode, gemini: options }: CoreSettings): ProviderConfig {
  const { apiKey, model, baseUrl, concurrency } = options;
  if (apiKey === undefined) {
    throw new ConfigError(
      `${CORE_SETTINGS['gemini.apiKey'].env} is not set; ${CORE_SETTINGS.mode.env} "${mode}" needs it; set it, or choose another mode: auto, local or docs`,
    );
  }
  const provider = gemini({ apiKey, model, ...(baseUrl !== undefined && { baseUrl }) });
  return { provider, deadlines: deadlinesOf(options), concurrency, retries: true };
}

function local(
  { ollama: options }: CoreSettings,
  model: string = DEFAULT_OLLAMA_MODEL,
): ProviderConfig {
  const { host, concurrency } = options;
  return { provider: ollama({ host, model }), deadlines: deadlinesOf(options), concurrency };
}

function deadlinesOf({
  firstChunkSeconds,
  stallSeconds,
  totalSeconds,
}: CoreSettings['gemini' | 'ollama']): Deadlines {
  return {
    firstChunkMs: firstChunkSeconds * 1_000,
    stallMs: stallSeconds * 1_000,
    totalMs: totalSeconds * 1_000,
  };
}

function builtIn(): ProviderConfig {
  return { provider: docs() };
}

/** @returns the model that Ollama answers with; undefined if Ollama is unavailable or has no model. */
async function installedModel(
  { ollama: { host, model } }: CoreSettings,
  logger: Logger,
): Promise<string | undefined> {
  try {
    const models = await ollamaModels(host, AbortSignal.timeout(PROBE_MS));
    return model ?? models[0];
  } catch (error) {
    logger.debug({ event: 'OLLAMA_NOT_FOUND', host: new URL(host).host, err: error });
    return undefined;
  }
}
