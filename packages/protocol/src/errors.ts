/**
 * Every error that crosses the wire, and whether the same request may succeed later. PROTOCOL.md,
 * "Errors", says what each means; a test holds the two against each other.
 */
export const ERRORS = {
  bad_request: { retryable: false },
  unauthorized: { retryable: false },
  unsupported_version: { retryable: false },
  unsupported: { retryable: false },
  not_found: { retryable: false },
  conflict: { retryable: false },
  rate_limited: { retryable: true },
  overloaded: { retryable: true },
  provider_unavailable: { retryable: true },
  provider_timeout: { retryable: true },
  stalled: { retryable: true },
  content_filter: { retryable: false },
  truncated: { retryable: true },
  too_large: { retryable: false },
  tool_limit: { retryable: false },
  invalid_output: { retryable: true },
  all_providers_failed: { retryable: true },
  interrupted: { retryable: true },
  cancelled: { retryable: false },
  internal: { retryable: true },
} as const;

export type ErrorCode = keyof typeof ERRORS;

export interface StreamErrorOptions {
  /** Milliseconds after which a retry makes sense, if the source named a time. */
  retryAfterMs?: number | undefined;
  /** The text that was received before the failure; empty by default. */
  partialText?: string | undefined;
  /** Replaces the value that follows from the code. */
  retryable?: boolean | undefined;
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
