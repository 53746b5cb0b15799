import type { RequestInit, Response as ProviderResponse } from '../http.js';

/** As the SDK calls it. */
export type SdkFetch = (url: string, init: RequestInit) => Promise<ProviderResponse>;

/**
 * The response to the request that `send` makes with the SDK. Its body is unread.
 *
 * The SDK takes no `fetch` of its own and reads the body in its own way: it keeps every frame until the
 * end, and refuses legal server-sent events. It looks up the global `fetch` before its call returns, and
 * not later. So the global is replaced during that call, in which no other code runs. The SDK gets the
 * response's status and, in place of the body of an answer, an empty one.
 *
 * @throws {GoogleGenerativeAIFetchError} the response has an error status.
 * @throws what `fetch` throws.
 */
export async function responseOf(
  send: () => Promise<{ response: Promise<unknown> }>,
  fetch: SdkFetch,
): Promise<ProviderResponse> {
  let responding: Promise<ProviderResponse> | undefined;
  const sent = withGlobalFetch(async (url, init) => {
    responding = fetch(url, init);
    const response = await responding;
    return response.ok ? new Response('') : response;
  }, send);
  try {
    const { response } = await sent;
    response.catch(() => {});
  } catch (error) {
    // The SDK keeps of a network error only its words.
    await responding;
    throw error;
  }
  if (responding === undefined) throw new Error('the SDK did not look up the global fetch');
  return responding;
}

function withGlobalFetch<T>(
  replacement: (url: string, init: RequestInit) => Promise<unknown>,
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
