import type { ChatRequest } from 'ollama';
import { ProviderError, type ProviderFailure } from '../provider.js';
import { quote } from '../quote.js';

export type AnswerRequest = ChatRequest & { stream: true };

const NO_DONE_LINE = 'Did not receive done or success response in stream.';

const NETWORK_FAULTS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection closed',
  UND_ERR_SOCKET: 'connection closed',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'no such host',
  ETIMEDOUT: 'no connection in time',
  UND_ERR_CONNECT_TIMEOUT: 'no connection in time',
  UND_ERR_HEADERS_TIMEOUT: 'no reply in time',
};

/** Many local models have no template for tools, and Ollama then refuses the whole request. */
export class NoToolsError extends ProviderError {}

export function truncated(): ProviderError {
  return new ProviderError('truncated', 'unable to finish the answer: ollama broke it off');
}

export function notOllama(): ProviderError {
  return new ProviderError(
    'unavailable',
    'unable to read the answer of ollama: nothing of its protocol came. Check OLLAMA_HOST',
  );
}

/** What the client throws while it reads: an error line's words in a plain `Error`, or its own. */
export function broken(error: unknown, begun: boolean, request: AnswerRequest): ProviderError {
  if (!(error instanceof Error) || error.message === NO_DONE_LINE) return truncated();
  if (error instanceof TypeError) return begun ? truncated() : notOllama();
  return failed('unavailable', request, undefined, quote(error.message, textsOf(request)));
}

export async function refusedAnswer(
  response: Response,
  request: AnswerRequest,
): Promise<ProviderError> {
  const words = await errorWords(response);
  if (request.tools !== undefined && /does not support tools/.test(words)) {
    return new NoToolsError(
      'bad_request',
      `unable to offer tools to ${request.model}: it has none`,
    );
  }
  const failure = toFailure(response);
  const advice =
    response.status === 404 ? `. Install it with \`ollama pull ${request.model}\`` : '';
  return failed(failure, request, response.status, quote(words, textsOf(request)), advice);
}

export async function refusedList(response: Response): Promise<ProviderError> {
  await response.body?.cancel();
  return new ProviderError(
    'unavailable',
    `unable to list the models of ollama: HTTP ${response.status}. Check OLLAMA_HOST`,
  );
}

function failed(
  failure: ProviderFailure,
  { model }: AnswerRequest,
  status: number | undefined,
  words: string,
  advice = '',
): ProviderError {
  const what = status === undefined ? 'it failed' : `HTTP ${status}`;
  return new ProviderError(
    failure,
    `unable to get an answer from ${model}: ${what}${words && `, ${words}`}${advice}`,
    { status },
  );
}

function toFailure(response: Response): ProviderFailure {
  switch (response.status) {
    case 400:
    case 413:
    case 422:
      return 'bad_request';
    case 401:
    case 403:
    case 404:
      return 'misconfigured';
    case 429:
      return 'busy';
    case 503:
      // Ollama's own means that its queue is full, one in HTML that a proxy does not reach it.
      return isJson(response) ? 'busy' : 'unavailable';
    default:
      return 'unavailable';
  }
}

export function unreachable(error: unknown): ProviderError {
  const code = networkCode(error);
  const reason = NETWORK_FAULTS[code] ?? (code || 'the request failed');
  return new ProviderError(
    'unavailable',
    `unable to reach ollama: ${reason}. Is it running (\`ollama serve\`), and OLLAMA_HOST right?`,
    // An error without a code may quote the URL, and with it a password.
    code === '' ? {} : { cause: error },
  );
}

function networkCode(error: unknown): string {
  if (!(error instanceof Error)) return '';
  const { cause } = error;
  return cause instanceof Error && 'code' in cause && typeof cause.code === 'string'
    ? cause.code
    : '';
}

function textsOf({ messages = [] }: AnswerRequest): string[] {
  return messages.map(({ content }) => content);
}

async function errorWords(response: Response): Promise<string> {
  try {
    const body: unknown = await response.json();
    const words = body !== null && typeof body === 'object' && 'error' in body ? body.error : '';
    return typeof words === 'string' ? words : '';
  } catch {
    return '';
  }
}

/** `application/json`, and `application/x-ndjson` of a stream. */
export function isJson(response: Response): boolean {
  return response.headers.get('content-type')?.includes('json') ?? false;
}
