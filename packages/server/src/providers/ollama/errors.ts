import { type Prompt, ProviderError, type ProviderFailure } from '../provider.js';
import { detailOf, failureOf, refused, TooLongError } from '../failure.js';
import type { Response } from '../http.js';
import { quote, textsOf } from '../quote.js';

export const OLLAMA_ADVICE = 'Check that it is running (`ollama serve`), and OLLAMA_HOST';

/** The model has no tools or no thinking. Ollama refuses the whole request, so it is asked without. */
export class LacksError extends ProviderError {
  readonly lacks: 'tools' | 'thinking';

  constructor(lacks: 'tools' | 'thinking', { failure, message, detail, status }: ProviderError) {
    super(failure, message, { detail, status });
    this.lacks = lacks;
  }
}

/** @returns the failure of an answer that Ollama refuses. */
export async function refusedAnswer(
  response: Response,
  model: string,
  prompt: Pick<Prompt, 'system' | 'messages'>,
): Promise<ProviderError> {
  const { status } = response;
  const said = await errorWords(response);
  const words = said ?? '';
  const refusal = {
    provider: 'ollama',
    status,
    words: quote(words, textsOf(prompt)),
    ...adviceFor(status, said, model),
  };
  if (status === 400 && /exceeds? the (?:available )?context/i.test(words)) {
    return new TooLongError(detailOf(refusal), status);
  }
  const error = refused({ ...refusal, failure: failureOfRefusal(status, said) });
  const lacks = /does not support (tools|thinking)/.exec(words)?.[1];
  if (status !== 400 || (lacks !== 'tools' && lacks !== 'thinking')) return error;
  return new LacksError(lacks, error);
}

/** @returns the failure of another request that Ollama refuses, such as for its models. */
export async function refusedRequest(response: Response): Promise<ProviderError> {
  const { status } = response;
  const words = quote((await errorWords(response)) ?? '', []);
  return refused({
    provider: 'ollama',
    failure: 'unavailable',
    status,
    words,
    advice: 'Check OLLAMA_HOST',
  });
}

/** `said` is undefined where something other than Ollama answers, such as a proxy. */
function failureOfRefusal(status: number, said: string | undefined): ProviderFailure {
  if (said === undefined) return failureOf(status);
  if (/does not support chat/.test(said)) return 'misconfigured';
  // Ollama's own 503 means that its queue is full.
  if (status === 503) return 'busy';
  // Ollama answers 500, and not 400, to an option or format of a wrong type.
  if (status === 500 && /^option "[^"]*" must be|^invalid (?:format|option)/.test(said)) {
    return 'bad_request';
  }
  return failureOf(status);
}

function adviceFor(status: number, said: string | undefined, model: string): { advice?: string } {
  if (status === 404) {
    return said === undefined
      ? { advice: 'No Ollama answers at this URL. Check OLLAMA_HOST' }
      : { advice: `Install the model with \`ollama pull ${model}\`, or set OLLAMA_MODEL` };
  }
  if (said !== undefined && /does not support chat/.test(said)) {
    return { advice: 'Set OLLAMA_MODEL to a model that can chat' };
  }
  return status === 401 || status === 403 ? { advice: 'Check the login in OLLAMA_HOST' } : {};
}

/** The words of `{"error": "…"}`; undefined if the response has another form. */
async function errorWords(response: Response): Promise<string | undefined> {
  try {
    const body: unknown = JSON.parse(await response.body.text());
    const words = body !== null && typeof body === 'object' && 'error' in body ? body.error : '';
    return typeof words === 'string' && words !== '' ? words : undefined;
  } catch {
    return undefined;
  }
}

/** `application/json`, and `application/x-ndjson` of a stream. */
export function isJson(response: Response): boolean {
  return response.contentType.includes('json');
}
