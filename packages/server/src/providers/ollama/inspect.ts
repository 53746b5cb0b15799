import { setMaxListeners } from 'node:events';
import { ProviderError } from '../provider.js';
import { notUnderstood } from '../failure.js';
import { isSchema } from '../json-schema.js';
import { type OllamaAddress, toAddress } from './address.js';
import { connect, type Refuse } from './client.js';
import { OLLAMA_ADVICE, refusedAnswer, refusedRequest } from './errors.js';

/** The version and the models of an Ollama. */
export interface OllamaInspection {
  version: string | undefined;
  /** Newest first, as Ollama lists them; at most 50. */
  models: readonly OllamaModel[];
}

export interface OllamaModel {
  /** As `OLLAMA_MODEL` takes it. */
  name: string;
  /** When the model was installed or replaced, as ISO 8601. */
  modifiedAt: string;
  /** Such as `completion`, `tools`, `thinking`, `embedding`; empty if Ollama does not tell. */
  capabilities: readonly string[];
  /** The most tokens that the model can read; Ollama may be set to fewer. */
  contextLength: number | undefined;
}

const MAX_MODELS = 50;

/**
 * Asks an Ollama what it is and which models it has.
 *
 * @throws {ProviderError} `unavailable` when no Ollama answers there.
 * @throws `signal.reason` when it aborts.
 */
export function inspectOllama(host: string, signal: AbortSignal): Promise<OllamaInspection> {
  return ask(host, signal, async (client) => {
    const [{ version }, { models }] = await Promise.all([client().version(), client().list()]);
    const newest = models.slice(0, MAX_MODELS);
    const described = await Promise.all(newest.map((model) => describe(client(), model)));
    return {
      version: typeof version === 'string' ? version : undefined,
      models: described.filter((model) => model !== undefined),
    };
  });
}

/** The names of the models that are installed, newest first. Throws as `inspectOllama` does. */
export function ollamaModels(host: string, signal: AbortSignal): Promise<string[]> {
  return ask(host, signal, async (client) => {
    const { models } = await client().list();
    return models.map(({ name }) => name);
  });
}

/**
 * Asks if a model is in memory. Ollama answers at once, also while it loads a model. Throws as
 * `inspectOllama` does.
 *
 * @returns true if the model is loaded.
 */
export function isLoaded(host: string, model: string, signal: AbortSignal): Promise<boolean> {
  return ask(host, signal, async (client) => {
    const { models } = await client().ps();
    return models.some(({ name }) => withTag(name) === withTag(model));
  });
}

/**
 * Loads the model into memory, and resolves when it is there. `keepAlive` is how long it stays after its
 * last use, as Ollama takes it. Throws as `inspectOllama` does.
 *
 * @throws {ProviderError} `misconfigured` when the model is missing or cannot chat.
 */
export async function loadModel(
  host: string,
  model: string,
  signal: AbortSignal,
  keepAlive?: string | number,
): Promise<void> {
  const request = {
    model,
    messages: [],
    ...(keepAlive !== undefined && { keep_alive: keepAlive }),
  };
  const refuse: Refuse = (response) => refusedAnswer(response, model, NO_PROMPT);
  const { done } = await ask(host, signal, (client) => client(refuse).chat(request));
  if (!done) throw notUnderstood('ollama', OLLAMA_ADVICE);
}

const NO_PROMPT = { system: '', messages: [] };

type Client = ReturnType<typeof connect>;

async function ask<T>(
  host: string,
  signal: AbortSignal,
  read: (client: (refuse?: Refuse) => Client) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const address: OllamaAddress = toAddress(host);
  const upstream = new AbortController();
  // One for each request that is open.
  setMaxListeners(MAX_MODELS + 1, upstream.signal);
  const abort = (): void => upstream.abort(signal.reason);
  signal.addEventListener('abort', abort);
  try {
    return await read((refuse = refusedRequest) => connect(address, upstream.signal, refuse));
  } catch (error) {
    signal.throwIfAborted();
    throw error instanceof ProviderError ? error : notUnderstood('ollama', OLLAMA_ADVICE);
  } finally {
    signal.removeEventListener('abort', abort);
    upstream.abort();
  }
}

/** @returns undefined if the model was removed after it was listed. */
async function describe(
  client: Client,
  { name, modified_at: modifiedAt }: { name: string; modified_at: Date | string },
): Promise<OllamaModel | undefined> {
  const shown = await client.show({ model: name }).catch((error: unknown) => {
    // A proxy may keep this path back; the model can be used all the same.
    if (error instanceof ProviderError && error.status !== undefined) return error.status;
    throw error;
  });
  if (shown === 404) return undefined;
  const { capabilities, model_info: info } =
    typeof shown === 'number' ? { capabilities: [], model_info: undefined } : shown;
  return {
    name,
    modifiedAt: String(modifiedAt),
    capabilities: Array.isArray(capabilities) ? capabilities : [],
    contextLength: contextLength(info),
  };
}

/** The key begins with the architecture, such as `llama.context_length`. */
function contextLength(info: unknown): number | undefined {
  if (!isSchema(info)) return undefined;
  const value = info[`${String(info['general.architecture'])}.context_length`];
  return typeof value === 'number' ? value : undefined;
}

function withTag(model: string): string {
  return model.includes(':') ? model : `${model}:latest`;
}
