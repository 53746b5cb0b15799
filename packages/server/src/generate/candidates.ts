import type { Config } from '../config.js';
import type { Logger } from '../observe/logger.js';
import type { Deadlines } from './deadline.js';
import { docs } from './providers/docs.js';
import { gemini } from './providers/gemini.js';
import { ollama, ollamaModels } from './providers/ollama.js';
import type { Route } from './route.js';
import type { Candidate } from './upstream.js';

const API_DEADLINES: Deadlines = { firstChunkMs: 10_000, stallMs: 30_000, totalMs: 120_000 };
// A local model may have to be read from disk first.
const LOCAL_DEADLINES: Deadlines = { ...API_DEADLINES, firstChunkMs: 60_000 };

const DEFAULT_OLLAMA_MODEL = 'llama3.2';
const PROBE_MS = 1_000;

/** The providers that the configuration asks for; with `auto`, those that are there. */
export async function chooseRoute(config: Config, logger: Logger): Promise<Route> {
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
      const found: Candidate[] = [];
      if (config.gemini.apiKey !== undefined) found.push(api(config));
      if (model !== undefined) found.push(local(config, model));
      const [first = builtIn(), ...rest] = found;
      return [first, ...rest];
    }
  }
}

function api({ gemini: { apiKey = '', model, baseUrl, parallelism } }: Config): Candidate {
  const provider = gemini({ apiKey, model, ...(baseUrl !== undefined && { baseUrl }) });
  return { provider, deadlines: API_DEADLINES, parallelism, retries: true };
}

function local(
  { ollama: { host, parallelism } }: Config,
  model: string = DEFAULT_OLLAMA_MODEL,
): Candidate {
  return { provider: ollama({ host, model }), deadlines: LOCAL_DEADLINES, parallelism };
}

function builtIn(): Candidate {
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
