import { GoogleGenerativeAI, GoogleGenerativeAIFetchError } from '@google/generative-ai';
import { createGeminiParser, type GeminiRefusal } from './answer.js';
import { explainRefusal, GEMINI_ADVICE, NoThoughtsError, readRefusal } from './errors.js';
import { toRequest } from './request.js';
import { isHeaderValue } from '../../settings/value-types.js';
import { fetchProblem, responseOf } from './sdk-fetch.js';
import { providerError, unreachable } from '../failure.js';
import { request, type Response } from '../http.js';
import { hasClientTools, type Prompt, type Provider, ProviderError } from '../provider.js';
import { type ProviderApi, streamAnswer } from '../stream-answer.js';

export interface GeminiOptions {
  apiKey: string;
  model: string;
  /** The URL of another server with Gemini's API. Google's API unless given. */
  baseUrl?: string | undefined;
}

/** Models that think first. They send nothing in that time unless the request asks for their thoughts. */
const THINKING_MODEL =
  /^(?:models\/)?gemini-(?:2\.5-(?:pro|flash(?!-lite))|3)(?!.*(?:image|tts|audio|live|embedding))/;

/** Provider for Google's models, through Google's SDK. */
export function gemini({ apiKey, model, baseUrl }: GeminiOptions): Provider {
  const url = baseUrl?.replace(/\/+$/, '');
  const sdk = new GoogleGenerativeAI(apiKey).getGenerativeModel(
    { model },
    url ? { baseUrl: url } : {},
  );
  const thinks = THINKING_MODEL.test(model);
  let givesThoughts = true;
  // The SDK sends the key in a header.
  const keyProblem = isHeaderValue(apiKey) ? undefined : unusableKey();
  const findProblem = (): ProviderError | undefined => keyProblem ?? fetchProblem();

  async function send(
    prompt: Prompt,
    wantsThoughts: boolean,
    signal: AbortSignal,
  ): Promise<Response> {
    const problem = findProblem();
    if (problem !== undefined) throw problem;
    try {
      return await responseOf(
        () => sdk.generateContentStream(toRequest(prompt, model, wantsThoughts)),
        (to, init) => request(to, { ...init, signal }),
      );
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof GoogleGenerativeAIFetchError) {
        throw explainRefusal(readRefusal(error), { apiKey, prompt });
      }
      if (error instanceof ProviderError) throw error;
      throw unreachable('gemini', error, GEMINI_ADVICE);
    }
  }

  const api: ProviderApi = {
    name: 'gemini',
    advice: GEMINI_ADVICE,
    async ask(prompt, signal) {
      const wantsThoughts = givesThoughts && (thinks || prompt.thoughts === true);
      try {
        return await send(prompt, wantsThoughts, signal);
      } catch (error) {
        if (!(error instanceof NoThoughtsError) || !wantsThoughts) throw error;
        const answer = await send(prompt, false, signal);
        // Gemini may have refused the tools of a client, and another request is not affected.
        if (!hasClientTools(prompt)) givesThoughts = false;
        return answer;
      }
    },
    createParser: (prompt) =>
      createGeminiParser({
        model,
        hasTools: (prompt.tools ?? []).length > 0,
        explain: (refusal: GeminiRefusal): ProviderError =>
          explainRefusal(refusal, { apiKey, prompt }),
      }),
  };
  return {
    name: 'gemini',
    model,
    get problem() {
      return findProblem();
    },
    canContinue: true,
    hasJsonMode: true,
    withModel: (other) => gemini({ apiKey, model: other, baseUrl }),
    stream: (prompt, signal) => streamAnswer(api, prompt, signal),
  };
}

function unusableKey(): ProviderError {
  const advice = 'Check GEMINI_API_KEY';
  const detail = `unable to ask gemini: the key has characters that no HTTP header may have. ${advice}`;
  return providerError('misconfigured', detail, { advice });
}
