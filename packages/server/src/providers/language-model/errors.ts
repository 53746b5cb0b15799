import {
  detailOf,
  failureOf,
  providerError,
  refused,
  TooLongError,
  truncated,
  unreachable,
} from '../failure.js';
import { isSchema } from '../json-schema.js';
import { ProviderError } from '../provider.js';
import { type PromptTexts, quote, textsOf, withoutClientTexts } from '../quote.js';
import { retryAfterMs } from '../retry-after.js';
import { saysTooLong, shareThatFits } from '../too-long.js';

/**
 * The fields of `AI_APICallError` that are used. The error also holds the prompt, so it is never kept as a
 * cause.
 */
interface ApiCallError {
  statusCode: number;
  message: string;
  responseHeaders: Readonly<Record<string, unknown>>;
}

/** Errors whose message quotes the response. */
const UNREADABLE =
  /^AI_(?:JSONParse|TypeValidation|InvalidResponseData|EmptyResponseBody|NoContent)/;
const MISCONFIGURED = /^AI_(?:LoadAPIKey|LoadSetting|NoSuchModel|NoSuchProvider)/;
const API_KEY = /api[ _-]?key/i;
const NOT_ACCEPTED = /^AI_(?:Unsupported|Invalid(?:Prompt|Argument))/;

/**
 * Converts an error of a model. `hasBegun` is true if a part of the answer came before the error. The request
 * is then not its cause.
 */
export function explain(
  error: unknown,
  name: string,
  prompt: PromptTexts,
  hasBegun: boolean,
): ProviderError {
  if (error instanceof ProviderError) return error;
  const refusal = toApiCallError(error);
  if (refusal !== undefined) return explainRefusal(refusal, name, prompt, hasBegun);
  const type = isSchema(error) || error instanceof Error ? String(error['name' as never]) : '';
  if (UNREADABLE.test(type)) return truncated(name, `a part of its stream is unreadable (${type})`);
  if (MISCONFIGURED.test(type)) {
    const advice = `Check the settings of ${name}, such as its API key`;
    return providerError('misconfigured', `unable to ask ${name}: ${type}. ${advice}`, { advice });
  }
  if (NOT_ACCEPTED.test(type)) {
    return providerError('bad_request', `${name} does not accept the request: ${type}`);
  }
  if (hasBegun) return truncated(name, 'its stream failed');
  return unreachable(name, networkError(error), `Check the network, and the URL of ${name}`);
}

/** @returns the network error inside of a package's error. The latter holds the prompt. */
function networkError(error: unknown, depth: number = 0): unknown {
  if (!(error instanceof Error) || depth > MAX_CAUSES) return undefined;
  return 'code' in error ? error : networkError(error.cause, depth + 1);
}

const MAX_CAUSES = 5;

/** Converts an error that arrived as a part of the stream. It may have any type, including text. */
export function explainErrorPart(error: unknown, name: string, prompt: PromptTexts): ProviderError {
  const refusal = toApiCallError(error);
  if (refusal !== undefined) return explainRefusal(refusal, name, prompt, true);
  const type = error instanceof Error ? error.name : '';
  if (UNREADABLE.test(type)) return explain(error, name, prompt, true);
  const said = isSchema(error) || error instanceof Error ? error['message' as never] : error;
  const words = typeof said === 'string' ? quote(said, textsOf(prompt)) : '';
  const detail = `${name} failed while it answered${words && `: ${words}`}`;
  return providerError('unavailable', detail);
}

function toApiCallError(error: unknown): ApiCallError | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const { statusCode, message, responseHeaders } = error as Partial<ApiCallError>;
  if (typeof statusCode !== 'number') return undefined;
  return {
    statusCode,
    message: typeof message === 'string' ? message : '',
    responseHeaders: isSchema(responseHeaders) ? responseHeaders : {},
  };
}

function explainRefusal(
  { statusCode: status, message, responseHeaders }: ApiCallError,
  name: string,
  prompt: PromptTexts,
  hasBegun: boolean,
): ProviderError {
  // The packages also throw this error for a 200 whose body fails.
  if (status >= 200 && status < 300) {
    return hasBegun
      ? truncated(name, 'its stream failed')
      : providerError('unavailable', `${name} answered what its package cannot read`);
  }
  // Google responds 400 to an unknown key.
  const isKeyWrong =
    status === 401 || status === 403 || API_KEY.test(withoutClientTexts(message, prompt));
  const failure = isKeyWrong ? 'misconfigured' : failureOf(status);
  const refusal = {
    provider: name,
    status,
    // The key is not known here, and the message may quote it.
    words: API_KEY.test(message) || isKeyWrong ? '' : quote(message, textsOf(prompt)),
    ...(failure === 'misconfigured' && {
      advice: isKeyWrong
        ? `Check the API key of ${name}`
        : `Check the model and the URL of ${name}`,
    }),
  };
  if (!hasBegun && (status === 400 || status === 413 || status === 422) && saysTooLong(message)) {
    return new TooLongError(detailOf(refusal), status, shareThatFits(message));
  }
  return refused({
    ...refusal,
    failure: hasBegun && failure === 'bad_request' ? 'unavailable' : failure,
    retryAfterMs: retryAfterMs((header) => {
      const value = responseHeaders[header];
      return typeof value === 'string' ? value : undefined;
    }),
  });
}
