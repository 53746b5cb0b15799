import { createParser } from 'eventsource-parser';
import { MAX_FRAME_CHARACTERS } from './stream-answer.js';

/** Parses server-sent events. */
export interface SseReader {
  read(text: string): void;
  /** Ends the stream. The last event is read even without the blank line that should follow it. */
  end(): void;
}

/**
 * Calls `onData` with the data of each event that has data. `read` and `end` throw the errors of `onData`.
 */
export function createSseReader(onData: (data: string) => void): SseReader {
  const parser = createParser({
    onEvent: ({ data }) => onData(data),
    onError({ type }) {
      if (type === 'max-buffer-size-exceeded') throw new RangeError('an event is too large');
      // Unknown fields of server-sent events are ignored.
    },
    maxBufferSize: MAX_FRAME_CHARACTERS,
  });
  return {
    read: (text) => parser.feed(text),
    end: () => parser.feed('\n\n'),
  };
}
