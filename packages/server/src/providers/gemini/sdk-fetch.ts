import { type RequestInit, type Response as ProviderResponse, toFetchResponse } from '../http.js';

/** A request function of the SDK. */
export type SdkFetch = (
  url: string,
  init: Omit<RequestInit, 'signal'>,
) => Promise<ProviderResponse>;

/**
 * Sends the request that `send` makes with the SDK. @returns the response with an unread body.
 *
 * The SDK has no option for `fetch`, keeps every event in memory until the end, and refuses some valid
 * server-sent events. It calls the global `fetch` synchronously, so the global is replaced during that call,
 * in which no other code runs. The SDK receives the response's status and an empty body.
 *
 * @throws {GoogleGenerativeAIFetchError} the response has an error status.
 * @throws the error of `fetch`.
 */
export async function responseOf(
  send: () => Promise<{ response: Promise<unknown> }>,
  fetch: SdkFetch,
): Promise<ProviderResponse> {
  let responding: Promise<ProviderResponse> | undefined;
  const sent = withGlobalFetch(async (url, init) => {
    responding = fetch(url, init);
    const response = await responding;
    return response.ok ? new Response('') : toFetchResponse(response);
  }, send);
  try {
    const { response } = await sent;
    response.catch(() => {});
  } catch (error) {
    // The SDK keeps only the message of a network error. This promise rejects with the error itself.
    await responding;
    throw error;
  }
  if (responding === undefined) throw new Error('the SDK did not look up the global fetch');
  return responding;
}

function withGlobalFetch<T>(
  replacement: (...request: Parameters<SdkFetch>) => Promise<Response>,
  call: () => T,
): T {
  const own = Object.getOwnPropertyDescriptor(globalThis, 'fetch');
  Object.defineProperty(globalThis, 'fetch', {
    value: replacement,
    configurable: true,
    writable: true,
  });
  try {
    return call();
  } finally {
    if (own === undefined) Reflect.deleteProperty(globalThis, 'fetch');
    else Object.defineProperty(globalThis, 'fetch', own);
  }
}
