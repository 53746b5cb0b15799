import type { GenerateRequest, StreamedEntry } from '@rivulet/server';
import type { Generate } from '../../packages/server/src/deliver/generation.js';

type Options = Parameters<Generate>[2];

/** A generation that writes the entries which an iterable gives. */
export function generateFrom(
  entriesOf: (request: GenerateRequest, options: Options) => AsyncIterable<StreamedEntry>,
): Generate {
  return async (request, sink, options) => {
    for await (const entry of entriesOf(request, options)) {
      if (options.signal.aborted) return;
      await sink.write(entry);
      if (entry.type === 'end' || entry.type === 'error') return;
    }
  };
}
