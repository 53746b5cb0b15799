import { Ollama } from 'ollama';
import { notUnderstood, unreachable } from '../failure.js';
import { request, type RequestInit, type Response, toFetchResponse } from '../http.js';
import type { OllamaAddress } from './address.js';
import { isJson, OLLAMA_ADVICE } from './errors.js';

/** Reads a response with an error status. The error that it resolves with is thrown. */
export type Refuse = (response: Response) => Promise<Error>;

/**
 * A client for one request: the client's own `abort` works only after the headers, so the signal goes
 * into fetch. Refusals are read here: the client writes what it does not understand to the console.
 * `onAnswer` takes the response away from the client, which gets an empty one in its place.
 */
export function connect(
  { url, headers }: OllamaAddress,
  signal: AbortSignal,
  refuse: Refuse,
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
