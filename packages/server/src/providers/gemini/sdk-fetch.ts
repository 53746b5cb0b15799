import { providerError } from '../failure.js';
import { type RequestInit, type Response as ProviderResponse, toFetchResponse } from '../http.js';
import type { ProviderError } from '../provider.js';

/** A request function of the SDK. */
export type SdkFetch = (
  url: string,
  init: Omit<RequestInit, 'signal'>,
) => Promise<ProviderResponse>;

/**
 * @returns the error for an operator whose process does not let the global `fetch` be replaced; undefined if it does.
 */
export function fetchProblem(): ProviderError | undefined {
  const own = Object.getOwnPropertyDescriptor(globalThis, 'fetch');
  const canReplace = own?.configurable ?? Object.isExtensible(globalThis);
  return canReplace || own?.writable === true ? undefined : FIXED_FETCH;
}

const FIXED_FETCH = misconfigured(
  'it replaces the global `fetch` while it makes a request, and the property cannot be changed in this process',
  'Let `globalThis.fetch` be writable or configurable, or use `languageModel()` with @ai-sdk/google',
);

/**
 * Sends the request that `send` makes with the SDK. @returns the response with an unread body.
 *
 * The SDK has no option for `fetch`, keeps every event in memory until the end, and refuses some valid
 * server-sent events. It calls the global `fetch` synchronously, so the global is replaced during that call,
 * in which no other code runs. The SDK receives the response's status and an empty body.
 *
 * @throws {GoogleGenerativeAIFetchError} the response has an error status.
 * @throws {ProviderError} misconfigured: the SDK did not call the global `fetch`.
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
  if (responding === undefined) {
    throw misconfigured(
      'its SDK did not call the global `fetch`',
      'Install @google/generative-ai 0.24, and leave it out of bundles',
    );
  }
  return responding;
}

function misconfigured(reason: string, advice: string): ProviderError {
  return providerError('misconfigured', `unable to ask gemini: ${reason}. ${advice}`, { advice });
}

function withGlobalFetch<T>(
  replacement: (...request: Parameters<SdkFetch>) => Promise<Response>,
  call: () => T,
): T {
  const own = Object.getOwnPropertyDescriptor(globalThis, 'fetch');
  Object.defineProperty(globalThis, 'fetch', {
    value: replacement,
    configurable: own?.configurable ?? true,
    writable: true,
  });
  try {
    return call();
  } finally {
    if (own === undefined) Reflect.deleteProperty(globalThis, 'fetch');
    else Object.defineProperty(globalThis, 'fetch', own);
  }
}
