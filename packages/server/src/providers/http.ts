import { Agent, fetch, type RequestInit, type Response } from 'undici';

/**
 * The connections to all providers. It has no time limits of its own: Node's built-in fetch gives up
 * after 300 s of silence, but a local model may need longer, and each call has its own deadlines.
 */
const agent = new Agent({ headersTimeout: 0, bodyTimeout: 0 });

export type { RequestInit, Response };

/** `fetch` over the connections of the providers. */
export function request(url: string, init: RequestInit): Promise<Response> {
  return fetch(url, { ...init, dispatcher: agent });
}
