import { ProviderError, type ProviderFailure } from '../provider.js';
import { detailOf, failureOf, providerError, refused, TooLongError } from '../failure.js';
import type { Response } from '../http.js';
import { type PromptTexts, quote, textsOf, withoutClientTexts } from '../quote.js';

export const OLLAMA_ADVICE = 'Check that it is running (`ollama serve`), and OLLAMA_HOST';

/** The model is not installed. */
export class MissingModelError extends ProviderError {}

export function missingModel(model: string): ProviderError {
  const advice = pullAdvice(model);
  return providerError('misconfigured', `ollama has no model named ${model}. ${advice}`, {
    advice,
  });
}

export function cannotChat(model: string): ProviderError {
  const detail = `the model ${model} of ollama cannot chat. ${CHAT_ADVICE}`;
  return providerError('misconfigured', detail, { advice: CHAT_ADVICE });
}

export function noModel(suggested: string): ProviderError {
  const advice = `Install one, such as with \`ollama pull ${suggested}\``;
  return providerError('misconfigured', `ollama has no model that can chat. ${advice}`, { advice });
}

function pullAdvice(model: string): string {
  return `Install the model with \`ollama pull ${model}\`, or set OLLAMA_MODEL`;
}

const CHAT_ADVICE = 'Set OLLAMA_MODEL to a model that can chat';

/**
 * The model does not support tools or thinking. Ollama refuses the whole request, so it is sent again without
 * them.
 */
export class UnsupportedError extends ProviderError {
  readonly lacks: 'tools' | 'thinking';

  constructor(lacks: 'tools' | 'thinking', { failure, message, detail, status }: ProviderError) {
    super(failure, message, { detail, status });
    this.lacks = lacks;
  }
}

/** @returns the error for an answer that Ollama refuses. */
export async function refusedAnswer(
  response: Response,
  model: string,
  prompt: PromptTexts,
): Promise<ProviderError> {
  const { status } = response;
  const said = await errorWords(response);
  const own = said && withoutClientTexts(said, prompt);
  const words = own ?? '';
  const refusal = {
    provider: 'ollama',
    status,
    words: quote(said ?? '', textsOf(prompt)),
    ...adviceFor(status, own, model),
  };
  if (status === 400 && /exceeds? the (?:available )?context/i.test(words)) {
    return new TooLongError(detailOf(refusal), status);
  }
  const error = refused({ ...refusal, failure: failureOfRefusal(status, own) });
  if (status === 404 && said !== undefined) {
    const { failure, message, detail, advice } = error;
    return new MissingModelError(failure, message, { detail, advice, status });
  }
  const lacks = /does not support (tools|thinking)/.exec(words)?.[1];
  if (status !== 400 || (lacks !== 'tools' && lacks !== 'thinking')) return error;
  return new UnsupportedError(lacks, error);
}

/** @returns the error for any other request that Ollama refuses, such as the list of its models. */
export async function refusedRequest(response: Response): Promise<ProviderError> {
  const { status } = response;
  const words = quote((await errorWords(response)) ?? '', []);
  const advice = isLoginRefused(status) ? LOGIN_ADVICE : 'Check OLLAMA_HOST';
  return refused({ provider: 'ollama', failure: failureOf(status), status, words, advice });
}

/** `said` is undefined if something other than Ollama responds, such as a proxy. */
function failureOfRefusal(status: number, said: string | undefined): ProviderFailure {
  if (said === undefined) return failureOf(status);
  if (/does not support chat/.test(said)) return 'misconfigured';
  // Ollama responds 503 if its queue is full.
  if (status === 503) return 'busy';
  // Ollama responds 500, and not 400, to an option or format of a wrong type.
  if (status === 500 && /^option "[^"]*" must be|^invalid (?:format|option)/.test(said)) {
    return 'bad_request';
  }
  return failureOf(status);
}

function adviceFor(status: number, said: string | undefined, model: string): { advice?: string } {
  if (status === 404) {
    return said === undefined
      ? { advice: 'No Ollama answers at this URL. Check OLLAMA_HOST' }
      : { advice: pullAdvice(model) };
  }
  if (said !== undefined && /does not support chat/.test(said)) {
    return { advice: CHAT_ADVICE };
  }
  return isLoginRefused(status) ? { advice: LOGIN_ADVICE } : {};
}

const LOGIN_ADVICE = 'Check the login in OLLAMA_HOST';

function isLoginRefused(status: number): boolean {
  return status === 401 || status === 403;
}

/** @returns the message of `{"error": "…"}`; undefined if the response has another form. */
async function errorWords(response: Response): Promise<string | undefined> {
  try {
    const body: unknown = JSON.parse(await response.body.text());
    const words = body !== null && typeof body === 'object' && 'error' in body ? body.error : '';
    return typeof words === 'string' && words !== '' ? words : undefined;
  } catch {
    return undefined;
  }
}

/** @returns true for `application/json`, and for `application/x-ndjson` of a stream. */
export function isJson(response: Response): boolean {
  return response.contentType.includes('json');
}
