import { Ollama } from 'ollama';
import { notUnderstood, unreachable } from '../failure.js';
import { request, type RequestInit, type Response, toFetchResponse } from '../http.js';
import type { OllamaAddress } from './address.js';
import { isJson, OLLAMA_ADVICE } from './errors.js';

/** Reads a response with an error status. The client throws the error with which it resolves. */
export type ReadRefusal = (response: Response) => Promise<Error>;

/**
 * Creates a client for one request. The client's own `abort` works only after the headers have arrived, so
 * the signal is passed to fetch. `refuse` reads responses with an error status, because the client writes
 * unknown ones to the console. `onAnswer` receives the response; the client then gets an empty one instead.
 */
export function connect(
  { url, headers }: OllamaAddress,
  signal: AbortSignal,
  refuse: ReadRefusal,
  onAnswer?: (response: Response) => void,
): Ollama {
  const own = async (to: string, init: RequestInit): Promise<globalThis.Response> => {
    const response = await request(to, { ...init, signal }).catch((error: unknown) => {
      throw unreachable('ollama', error, OLLAMA_ADVICE);
    });
    if (!response.ok) throw await refuse(response);
    if (!isJson(response)) {
      response.body.close();
      throw notUnderstood('ollama', OLLAMA_ADVICE);
    }
    if (onAnswer === undefined) return toFetchResponse(response);
    onAnswer(response);
    return new globalThis.Response('');
  };
  return new Ollama({ host: url, headers: { ...headers }, fetch: own as unknown as typeof fetch });
}
