import OpenAI from 'openai';
import { unreachable } from '../failure.js';
import { request, type RequestInit, type Response, toFetchResponse } from '../http.js';
import { OPENAI_ADVICE } from './errors.js';

/** OpenAI's own servers. */
const OPENAI_URL = 'https://api.openai.com/v1';
/** The client's own limit covers the whole request. Each call has deadlines of its own. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** A server that speaks OpenAI's wire. */
export interface OpenAiServer {
  /** None is sent unless given. */
  apiKey: string | undefined;
  /** Such as `http://127.0.0.1:8000/v1`; that of OpenAI unless given. */
  baseUrl: string | undefined;
}

/**
 * Makes one request with the official client.
 *
 * The client gets the response only if `onAnswer` is absent. Otherwise `onAnswer` takes it, and the client
 * gets an empty one in its place: the client's reader of a stream writes what it cannot parse, the text of
 * an answer, to the console, does not notice a stream that ends early, and costs more for each token.
 *
 * @throws {ProviderError} the server was not reached, or what `refuse` gives for a response that is not `ok`.
 */
export async function send<T>(
  { apiKey, baseUrl = OPENAI_URL }: OpenAiServer,
  signal: AbortSignal,
  refuse: (response: Response) => Promise<Error>,
  call: (client: OpenAI) => PromiseLike<T>,
  onAnswer?: (response: Response) => void,
): Promise<T> {
  let failure: unknown;

  async function sendOne(url: string, init: RequestInit): Promise<globalThis.Response> {
    const response = await request(url, { ...init, signal }).catch((error: unknown) => {
      throw unreachable('openai', error, OPENAI_ADVICE);
    });
    if (!response.ok) throw await refuse(response);
    if (onAnswer === undefined) return toFetchResponse(response);
    onAnswer(response);
    return new globalThis.Response('');
  }

  const client = new OpenAI({
    // The client insists on a key.
    apiKey: apiKey ?? 'none',
    baseURL: baseUrl,
    // Without these, the client reads them from the variables of the process.
    adminAPIKey: null,
    organization: null,
    project: null,
    webhookSecret: null,
    // At `debug`, which OPENAI_LOG can ask for, the client logs prompts.
    logLevel: 'off',
    maxRetries: 0,
    timeout: LONGEST_TIMER_MS,
    defaultHeaders: {
      'X-Stainless-Timeout': null,
      ...(apiKey === undefined && { Authorization: null }),
    },
    fetch: ((url: string, init: RequestInit) =>
      sendOne(url, init).catch((error: unknown) => {
        failure = error;
        throw error;
      })) as unknown as typeof fetch,
  });
  try {
    return await call(client);
  } catch (error) {
    // The client wraps what its fetch throws.
    throw failure ?? error;
  }
}
