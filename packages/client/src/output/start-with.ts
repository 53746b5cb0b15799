import type { Answer, AnswerRequest, OutputAnswer, Schema } from '../types.js';
import { AnswerWithOutput } from './output-answer.js';

interface Start {
  <T>(request: AnswerRequest & { output: Schema<T> }): OutputAnswer<T>;
  (request: AnswerRequest): Answer;
}

/** @returns `start` of a client; `ask` asks one question. */
export function startWith(ask: (request: AnswerRequest) => Answer): Start {
  return <T>(request: AnswerRequest & { output?: Schema<T> | undefined }): OutputAnswer<T> => {
    const { output, options } = request;
    const first = ask(request);
    // Without a schema, it is a plain answer to the caller, too.
    if (output === undefined) return first as OutputAnswer<T>;
    const isCacheOnly = options?.cache === 'only-if-cached';
    const again: AnswerRequest = {
      ...request,
      options: { ...options, cache: options?.cache === 'no-store' ? 'no-store' : 'reload' },
    };
    return new AnswerWithOutput<T>(first, output, isCacheOnly ? undefined : () => ask(again));
  };
}
