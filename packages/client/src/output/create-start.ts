import type { Answer, AnswerRequest, Client, OutputAnswer, Schema } from '../types.js';
import { AnswerWithOutput } from './output-answer.js';

/** @returns `start` of a client. @param start sends one request, with or without an output, and returns its answer. */
export function createStart(start: (request: AnswerRequest) => Answer): Client['start'] {
  return <T>(request: AnswerRequest & { output?: Schema<T> | undefined }): OutputAnswer<T> => {
    const { output, options = {} } = request;
    const first = start(request);
    // Without a schema, it is a plain answer to the caller, too.
    if (!output) return first as OutputAnswer<T>;
    const isCacheOnly = options.cache === 'only-if-cached';
    const again: AnswerRequest = {
      ...request,
      options: { ...options, cache: options.cache === 'no-store' ? 'no-store' : 'reload' },
    };
    return new AnswerWithOutput<T>(first, output, isCacheOnly ? undefined : () => start(again));
  };
}
