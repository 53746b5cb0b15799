import { ProviderError, type ProviderFailure } from './provider.js';

/** The message for users for each failure. */
const SENTENCES: Readonly<Record<ProviderFailure, string>> = {
  unavailable: 'unable to get an answer: the model is not available at the moment; ask again soon',
  busy: 'unable to get an answer: the model is overloaded; ask again soon',
  misconfigured:
    'unable to get an answer: the model is not set up correctly on this server; ask its operator to read the log',
  bad_request:
    'unable to get an answer: the model does not accept this request; change the question or its options',
  content_filter:
    'unable to answer: the safety rules of the model do not allow it; change the question',
  truncated: 'unable to finish the answer: the model stopped before its end; ask again',
};

interface FailureOptions {
  /** See `ProviderError`. `detail` has to contain it, too. */
  advice?: string | undefined;
  status?: number | undefined;
  retryAfterMs?: number | undefined;
  cause?: unknown;
  /** The message for users, if the usual one of the failure is not specific enough. */
  message?: string;
}

/** Creates an error with the message for users, and `detail` for the operator. */
export function providerError(
  failure: ProviderFailure,
  detail: string,
  { message = SENTENCES[failure], ...options }: FailureOptions = {},
): ProviderError {
  return new ProviderError(failure, message, { detail, ...options });
}

/** The prompt is longer than the model's context. A request with fewer messages may succeed. */
export class TooLongError extends ProviderError {
  /** The share of the prompt that fits, from 0 to 1; undefined if the response does not contain it. */
  readonly fits: number | undefined;

  constructor(detail: string, status: number, fits?: number) {
    const message = 'unable to answer: the question is too long for the model; shorten it';
    super('bad_request', message, { detail, status });
    this.fits = fits;
  }
}

/**
 * The answer ended with neither a visible character nor a tool call. A retry may succeed, unless the request
 * is the cause, such as a stop text with which the answer begins.
 */
export class BlankAnswerError extends ProviderError {
  constructor(provider: string, why: string) {
    super('unavailable', 'unable to get an answer: the model sent an empty one; ask again', {
      detail: `${provider} ended its answer without text (${why})`,
    });
  }
}

/** The token limit was reached before the first visible character. A retry would fail in the same way. */
export function onlyThoughts(provider: string): ProviderError {
  return providerError(
    'bad_request',
    `${provider} reached the limit of tokens before the first text of its answer; raise LLM_MAX_TOKENS`,
    {
      message:
        'unable to answer: the model reached its limit of tokens before the answer began; allow it more tokens',
    },
  );
}

/** The stream ended early, or a part of it could not be parsed. */
export function truncated(provider: string, why: string, cause?: unknown): ProviderError {
  const options = cause === undefined ? {} : { cause };
  return providerError('truncated', `${provider} broke off its answer: ${why}`, options);
}

/** The response does not follow the provider's protocol. */
export function notUnderstood(provider: string, advice: string): ProviderError {
  return providerError(
    'unavailable',
    `unable to read the answer of ${provider}: nothing of its protocol came. ${advice}`,
    { advice },
  );
}

const NETWORK_FAULTS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection closed',
  UND_ERR_SOCKET: 'connection closed',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'no such host',
  ETIMEDOUT: 'no connection in time',
  UND_ERR_CONNECT_TIMEOUT: 'no connection in time',
  EHOSTUNREACH: 'no route to the host',
  ENETUNREACH: 'no route to the host',
  EPIPE: 'connection closed',
  EPROTO: 'no TLS connection',
  CERT_HAS_EXPIRED: 'the TLS certificate has expired',
  CERT_NOT_YET_VALID: 'the TLS certificate is not valid yet',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the TLS certificate is not trusted',
  SELF_SIGNED_CERT_IN_CHAIN: 'the TLS certificate is not trusted',
  UNABLE_TO_GET_ISSUER_CERT: 'the TLS certificate is not trusted',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'the TLS certificate is not trusted',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the TLS certificate is not trusted',
  ERR_TLS_CERT_ALTNAME_INVALID: 'the TLS certificate is for another host',
};

/** The request failed before the headers of a response arrived. */
export function unreachable(provider: string, error: unknown, advice: string): ProviderError {
  const code = networkCode(error);
  const reason = reasonOf(code);
  return providerError(
    'unavailable',
    `unable to reach ${provider}: ${reason}. ${advice}`,
    // An error without a code may quote the URL, so it is not kept as a cause.
    { advice, ...(code !== '' && { cause: error }) },
  );
}

function reasonOf(code: string): string {
  if (code.startsWith('ERR_SSL_')) return 'no TLS connection';
  return NETWORK_FAULTS[code] ?? (code || 'the request failed');
}

/** Fetch wraps the network error as the cause of its own error. */
function networkCode(error: unknown, depth: number = 0): string {
  if (!(error instanceof Error) || depth > MAX_CAUSES) return '';
  if ('code' in error && typeof error.code === 'string' && NETWORK_CODE.test(error.code)) {
    return error.code;
  }
  return networkCode(error.cause, depth + 1);
}

const MAX_CAUSES = 3;
/** The codes of Node.js, undici and OpenSSL. Another text could contain private data. */
const NETWORK_CODE = /^[A-Z][A-Z0-9_]{1,60}$/;

/** @returns the failure for an HTTP status that has the same meaning for every provider. */
export function failureOf(status: number): ProviderFailure {
  switch (status) {
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
    default:
      return 'unavailable';
  }
}

export interface Refusal {
  provider: string;
  failure: ProviderFailure;
  status: number;
  /** The quoted message of the response. */
  words: string;
  /** An instruction for the operator. */
  advice?: string;
  retryAfterMs?: number | undefined;
}

/** The text for the operator: the provider, the status, the message of the response and the advice. */
export function detailOf({ provider, status, words, advice }: Omit<Refusal, 'failure'>): string {
  const said = `${provider} answered HTTP ${status}${words === '' ? '' : `: ${words}`}`;
  return advice === undefined ? said : `${said.replace(/\.$/, '')}. ${advice}`;
}

/** A provider responded with a status other than 200, or with an error in the stream. */
export function refused(refusal: Refusal): ProviderError {
  const { failure, status, retryAfterMs, advice } = refusal;
  return providerError(failure, detailOf(refusal), { status, retryAfterMs, advice });
}
