import { createParser } from 'eventsource-parser';
import { MAX_FRAME_CHARACTERS } from './stream-answer.js';

/** Reads server-sent events. */
export interface SseReader {
  read(text: string): void;
  /** The stream has ended. An event counts without the blank line that should follow it. */
  end(): void;
}

/** `onData` gets the data of each event that has any; what it throws, `read` and `end` throw. */
export function createSseReader(onData: (data: string) => void): SseReader {
  const parser = createParser({
    onEvent: ({ data }) => onData(data),
    onError({ type }) {
      if (type === 'max-buffer-size-exceeded') throw new RangeError('an event is too large');
      // Readers of SSE pass over fields that they do not know.
    },
    maxBufferSize: MAX_FRAME_CHARACTERS,
  });
  return {
    read: (text) => parser.feed(text),
    end: () => parser.feed('\n\n'),
  };
}
