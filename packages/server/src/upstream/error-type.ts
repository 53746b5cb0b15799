import { StreamError } from '@rivulet/protocol';
import { ProviderError } from '../providers/provider.js';

/** The class of a failure as metrics name it: one of a few words. */
export function errorType(error: unknown): string {
  if (error instanceof ProviderError) return error.failure;
  if (error instanceof StreamError) {
    return error.cause instanceof ProviderError ? error.cause.failure : error.code;
  }
  // OpenTelemetry's word for what has none.
  return '_OTHER';
}
