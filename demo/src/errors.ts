import type { ErrorCode, StreamError } from '@rivulet/client';

/** What a visitor is told, and what there is to do. */
const sentences: Partial<Record<ErrorCode, string>> = {
  bad_request: 'The server could not read this question. Try it shorter, or in other words.',
  unauthorized: 'You are not logged in here any more. Log in, then ask again.',
  not_found: 'This answer is not kept any more. Ask again to get a new one.',
  conflict: 'This question got mixed up with another one. Ask again.',
  rate_limited: 'Too many questions in a short time.',
  overloaded: 'The server has as much to do as it can take. Wait a moment, then try again.',
  provider_unavailable: 'The model cannot be reached right now. Try again in a moment.',
  provider_timeout: 'The model took too long to begin. Try again.',
  stalled: 'The model stopped in the middle of the answer. What came is above; try again.',
  content_filter: 'The model declines to answer this. Other words may help.',
  truncated: 'The answer broke off before its end. What came is above; try again.',
  too_large: 'The answer grew past the longest allowed. Ask for a shorter one.',
  tool_limit: 'The model kept looking things up and did not answer. Ask for less at a time.',
  all_providers_failed: 'None of the models could answer. Try again in a moment.',
  interrupted: 'The server restarted in the middle of the answer. What came is above; try again.',
  internal: 'Something went wrong on the server. Try again; if it stays, look into its log.',
};

/** The error in plain words. */
export function explain(error: StreamError): string {
  // A newer server may send a code that this page does not know.
  const sentence = sentences[error.code] ?? error.message;
  if (error.retryAfterMs === undefined) return sentence;
  return `${sentence} The server asks you to wait ${Math.ceil(error.retryAfterMs / 1000)} s.`;
}
