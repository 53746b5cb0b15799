/**
 * Every error that crosses the wire, and whether the same request may succeed later.
 * PROTOCOL.md, "Errors", lists them for readers; a test holds the two against each other.
 */
export const ERRORS = {
  bad_request: { retryable: false, meaning: 'a field is missing, of the wrong type or too large' },
  unauthorized: { retryable: false, meaning: 'the token is missing, wrong or expired' },
  not_found: { retryable: false, meaning: 'no such stream, or one of another principal' },
  conflict: { retryable: false, meaning: 'the stream id is taken by another request' },
  rate_limited: { retryable: true, meaning: 'too many requests in a short time' },
  overloaded: { retryable: true, meaning: 'the server has as much to do as it allows itself' },
  provider_unavailable: { retryable: true, meaning: 'the model could not be reached or refused' },
  provider_timeout: { retryable: true, meaning: 'the model did not begin, or not finish, in time' },
  stalled: { retryable: true, meaning: 'the model stopped sending in the middle' },
  blocked: { retryable: false, meaning: 'the model refuses this content' },
  truncated: { retryable: true, meaning: 'the answer broke off without an end' },
  too_large: { retryable: false, meaning: 'the answer passed the longest allowed' },
  tool_limit: { retryable: false, meaning: 'the model kept calling tools and did not answer' },
  all_providers_failed: { retryable: true, meaning: 'every configured model failed' },
  producer_lost: { retryable: true, meaning: 'the server that was generating the answer is gone' },
  cancelled: { retryable: false, meaning: 'the stream was cancelled' },
  internal: { retryable: true, meaning: 'a fault of the server itself' },
} as const;

export type ErrorCode = keyof typeof ERRORS;

export interface StreamErrorOptions {
  /** Milliseconds after which another try makes sense, where the source said so. */
  retryAfterMs?: number | undefined;
  /** The text that had come before the failure; empty when none had. */
  partialText?: string;
  /** Where it does not follow from the code. */
  retryable?: boolean;
  cause?: unknown;
}

/**
 * The one error class of Rivulet, at both ends. `message` reads "unable to …: reason"; `retryable`
 * follows from `code` unless its source said otherwise.
 */
export class StreamError extends Error {
  override readonly name = 'StreamError';
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;
  readonly partialText: string;

  constructor(code: ErrorCode, message: string, options: StreamErrorOptions = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.code = code;
    this.retryable = options.retryable ?? ERRORS[code].retryable;
    this.retryAfterMs = options.retryAfterMs;
    this.partialText = options.partialText ?? '';
  }
}
