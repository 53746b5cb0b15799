import type { ShowResponse } from 'ollama';
import { ProviderError } from '../provider.js';
import { notUnderstood } from '../failure.js';
import { isSchema } from '../json-schema.js';
import { type OllamaAddress, toAddress } from './address.js';
import { connect, type ReadRefusal } from './client.js';
import { MissingModelError, OLLAMA_ADVICE, refusedAnswer, refusedRequest } from './errors.js';

/** An installed model. */
export interface OllamaModel {
  /** The name in the form of `OLLAMA_MODEL`. */
  name: string;
  /**
   * The time at which the model was installed or replaced, as ISO 8601; undefined if Ollama does not report
   * it.
   */
  modifiedAt: string | undefined;
  /**
   * Capabilities such as `completion`, `tools`, `thinking`, `embedding`; empty if Ollama does not report
   * them.
   */
  capabilities: readonly string[];
  /** The limit of the model's context in tokens. Ollama may be configured with a lower one. */
  contextLength: number | undefined;
}

const MAX_MODELS = 50;

/**
 * Reads the version of an Ollama.
 *
 * @throws {ProviderError} `unavailable` if no Ollama responds; `misconfigured` if the login is refused, or
 * the URL is not that of an Ollama.
 * @throws `signal.reason` when the signal aborts.
 */
export function ollamaVersion(host: string, signal: AbortSignal): Promise<string> {
  return ask(host, signal, async (client) => {
    const { version } = await client().version();
    if (typeof version !== 'string') throw notUnderstood('ollama', OLLAMA_ADVICE);
    return version;
  });
}

/**
 * Finds the installed model with this name, or without a name the newest one that can chat. Throws the errors
 * of `ollamaVersion`.
 *
 * @returns undefined if there is none.
 */
export function findModel(
  host: string,
  name: string | undefined,
  signal: AbortSignal,
): Promise<OllamaModel | undefined> {
  return ask(host, signal, async (client) => {
    const show = (model: string): Promise<OllamaModel | undefined> =>
      describe(
        client((response) => refusedAnswer(response, model, NO_PROMPT)),
        model,
      );
    if (name !== undefined) return show(name);
    const { models } = await client().list();
    if (!Array.isArray(models)) throw notUnderstood('ollama', OLLAMA_ADVICE);
    // Ollama lists the newest first.
    for (const listed of models.slice(0, MAX_MODELS)) {
      const model = await show(listed.name);
      if (model !== undefined && isChosen(model)) return model;
    }
    return undefined;
  });
}

/** @returns false only if Ollama reports that the model cannot chat. */
export function canChat({ capabilities }: OllamaModel): boolean {
  return capabilities.length === 0 || capabilities.includes('completion');
}

/** An Ollama that does not report capabilities may have embedding models, too. */
function isChosen(model: OllamaModel): boolean {
  return canChat(model) && (model.capabilities.length > 0 || !/embed|bert/i.test(model.name));
}

/**
 * Checks if a model is in memory. Ollama responds at once, even while it loads a model. Throws the errors of
 * `ollamaVersion`.
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
 * Loads the model into memory with the same options as a request. Resolves when the model is loaded. Throws
 * the errors of `ollamaVersion`.
 *
 * @throws {ProviderError} `misconfigured` when the model is missing or cannot chat.
 */
export async function loadModel(
  host: string,
  model: string,
  signal: AbortSignal,
  {
    keepAlive,
    numCtx,
  }: { keepAlive?: string | number | undefined; numCtx?: number | undefined } = {},
): Promise<void> {
  const request = {
    model,
    messages: [],
    ...(keepAlive !== undefined && { keep_alive: keepAlive }),
    // Ollama reloads the model for a request with another context size.
    ...(numCtx !== undefined && { options: { num_ctx: numCtx } }),
  };
  const refuse: ReadRefusal = (response) => refusedAnswer(response, model, NO_PROMPT);
  const { done } = await ask(host, signal, (client) => client(refuse).chat(request));
  if (!done) throw notUnderstood('ollama', OLLAMA_ADVICE);
}

const NO_PROMPT = { system: '', messages: [] };

type Client = ReturnType<typeof connect>;

async function ask<T>(
  host: string,
  signal: AbortSignal,
  read: (client: (refuse?: ReadRefusal) => Client) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const address: OllamaAddress = toAddress(host);
  const upstream = new AbortController();
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

/** @returns undefined if the model is not installed. */
async function describe(client: Client, name: string): Promise<OllamaModel | undefined> {
  const shown = await client.show({ model: name }).catch((error: unknown) => {
    if (error instanceof MissingModelError) return undefined;
    // A proxy may block this path. The model can still be used.
    if (error instanceof ProviderError && error.status !== undefined) return {};
    throw error;
  });
  if (shown === undefined) return undefined;
  const { capabilities, model_info: info, modified_at: modifiedAt }: ModelDetails = shown;
  return {
    name,
    modifiedAt: modifiedAt === undefined ? undefined : String(modifiedAt),
    capabilities: Array.isArray(capabilities) ? capabilities : [],
    contextLength: contextLength(info),
  };
}

/** The response on the wire. Any field may be absent. */
type ModelDetails = Partial<Pick<ShowResponse, 'capabilities' | 'model_info' | 'modified_at'>>;

/** The key begins with the architecture, such as `llama.context_length`. */
function contextLength(info: unknown): number | undefined {
  if (!isSchema(info)) return undefined;
  const value = info[`${String(info['general.architecture'])}.context_length`];
  return typeof value === 'number' ? value : undefined;
}

function withTag(model: string): string {
  return model.includes(':') ? model : `${model}:latest`;
}
