import type { ErrorCode, StreamError } from '@rivulet/client';

/** Each sentence tells the visitor what happened, and what to do. */
const messages: Partial<Record<ErrorCode, string>> = {
  bad_request: 'The server could not read this question. Shorten it, or put it in other words.',
  unauthorized: 'The server does not know you any more. Log in again, then try again.',
  unsupported_version: 'This page does not match the version of the server. Reload the page.',
  unsupported: 'This model cannot continue an answer. Regenerate it instead.',
  not_found: 'The server does not keep this answer any more. Try again to get a new one.',
  conflict: 'The server has this question already. Try again.',
  rate_limited: 'Too many questions in a short time. Wait, then try again.',
  overloaded: 'The server is overloaded. Wait a moment, then try again.',
  provider_unavailable: 'The model cannot be reached right now. Try again in a moment.',
  provider_timeout: 'The model took too long to begin. Try again.',
  stalled:
    'The model stopped sending text before the end of the answer. Continue it, or try again.',
  content_filter: 'The model declines to answer this. Put the question in other words.',
  truncated: 'The answer ended before it was complete. Continue it, or try again.',
  too_large: 'The answer reached the maximum length. Ask for a shorter one.',
  tool_limit: 'The model called too many tools without an answer. Ask for less at a time.',
  all_providers_failed: 'None of the models could answer. Try again in a moment.',
  interrupted: 'The server restarted while it answered. Your text is kept; continue or try again.',
  internal: 'Something went wrong on the server. Try again; if it stays, read the server’s log.',
};

/** The error in plain words. `requestId` is the name that the server's log has for the answer. */
export function errorText(
  { code, message, retryAfterMs }: StreamError,
  requestId: string | undefined,
): string {
  if (code === 'internal' && requestId !== undefined) {
    return `Something went wrong on the server. Try again; if it stays, look for request ${requestId} in the server’s log.`;
  }
  // A newer server may send a code that this page does not know.
  const sentence = messages[code] ?? message;
  if (retryAfterMs === undefined) return sentence;
  return `${sentence} The server asks you to wait ${Math.ceil(retryAfterMs / 1000)} s.`;
}
