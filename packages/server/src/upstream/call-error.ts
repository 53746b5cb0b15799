import { StreamError } from '@rivulet/protocol';
import { type Provider, ProviderError } from '../providers/provider.js';

/** A limit of time has passed. `detail` has the text for the operator. */
export class DeadlineError extends Error {
  override readonly name = 'DeadlineError';
  readonly detail: string;

  constructor(detail: string) {
    super(detail);
    this.detail = detail;
  }
}

/** @returns the class of a failure for metrics: one of a few values. */
export function errorType(error: unknown): string {
  if (error instanceof ProviderError) return error.failure;
  if (error instanceof StreamError) {
    return error.cause instanceof ProviderError ? error.cause.failure : error.code;
  }
  // OpenTelemetry's value for errors without a class.
  return '_OTHER';
}

/** @returns the error of a call in the form for readers. */
export function toStreamError(error: unknown, provider: Provider): StreamError {
  if (error instanceof StreamError) return error;
  const code = error instanceof ProviderError ? codeOf(error) : undefined;
  if (error instanceof ProviderError && code !== undefined) {
    return new StreamError(code, error.message, {
      retryAfterMs: error.retryAfterMs,
      cause: error,
    });
  }
  return new StreamError(
    'internal',
    `unable to use ${provider.name}: the server failed; try again`,
    {
      cause: error,
    },
  );
}

/** @returns undefined for a failure that the types do not allow. */
function codeOf({ failure }: ProviderError): StreamError['code'] | undefined {
  switch (failure) {
    case 'bad_request':
    case 'content_filter':
    case 'truncated':
      return failure;
    case 'unavailable':
    case 'busy':
    case 'misconfigured':
      return 'provider_unavailable';
    default:
      return undefined;
  }
}
