import type { Config } from '../config.js';
import type { Logger } from '../observe/logger.js';
import type { Deadlines } from './deadline.js';
import { docs } from './providers/docs.js';
import { gemini } from './providers/gemini.js';
import { ollama, ollamaModels } from './providers/ollama.js';
import type { Providers } from './route.js';
import type { ProviderConfig } from './upstream.js';

const API_DEADLINES: Deadlines = { firstChunkMs: 10_000, stallMs: 30_000, totalMs: 120_000 };
// A local model may have to be read from disk first.
const LOCAL_DEADLINES: Deadlines = { ...API_DEADLINES, firstChunkMs: 60_000 };

const DEFAULT_OLLAMA_MODEL = 'llama3.2';
const PROBE_MS = 1_000;

/** The providers that the configuration asks for; with `auto`, those that are there. */
export async function chooseProviders(config: Config, logger: Logger): Promise<Providers> {
  switch (config.mode) {
    case 'api':
      return [api(config)];
    case 'local':
      return [local(config, config.ollama.model)];
    case 'hybrid':
      return [api(config), local(config, config.ollama.model)];
    case 'docs':
      return [builtIn()];
    case 'auto': {
      const model = await installedModel(config, logger);
      const found: ProviderConfig[] = [];
      if (config.gemini.apiKey !== undefined) found.push(api(config));
      if (model !== undefined) found.push(local(config, model));
      const [first = builtIn(), ...rest] = found;
      return [first, ...rest];
    }
  }
}

function api({ gemini: { apiKey = '', model, baseUrl, concurrency } }: Config): ProviderConfig {
  const provider = gemini({ apiKey, model, ...(baseUrl !== undefined && { baseUrl }) });
  return { provider, deadlines: API_DEADLINES, concurrency, retries: true };
}

function local(
  { ollama: { host, concurrency } }: Config,
  model: string = DEFAULT_OLLAMA_MODEL,
): ProviderConfig {
  return { provider: ollama({ host, model }), deadlines: LOCAL_DEADLINES, concurrency };
}

function builtIn(): ProviderConfig {
  return { provider: docs(), deadlines: API_DEADLINES };
}

/** The model that Ollama would answer with; undefined when it is not there or has none. */
async function installedModel(
  { ollama: { host, model } }: Config,
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
