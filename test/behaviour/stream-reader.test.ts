import { EVENT } from '@rivulet/protocol';
import { expect, it } from 'vitest';
import { type StartRequest, WINDOW_UNITS } from '../../packages/client/src/answer/request.js';
import { StreamReader } from '../../packages/client/src/answer/stream-reader.js';
import type { Connection, StreamHandler } from '../../packages/client/src/connection/connection.js';
import type { LogSegment } from '../../packages/client/src/connection/log-segment.js';

const UNITS = 1_000;
const REQUEST: StartRequest = {
  type: EVENT.start,
  stream_id: 'A',
  reader_id: 'R',
  query: 'q',
  window: WINDOW_UNITS,
};

/** A reader, and a server that sends no more than the window beyond what the reader has acknowledged. */
function begun() {
  let acknowledged = 0;
  let handler!: StreamHandler;
  const connection: Partial<Connection> = {
    addHandler(added) {
      handler = added;
      return () => {};
    },
    acknowledge(_id, offset) {
      acknowledged = Math.max(acknowledged, offset);
    },
  };
  const listener = { onUpdate() {}, onComplete() {}, onError() {} };
  const options = { isNew: true, waitsOnRateLimit: false };
  const reader = new StreamReader(connection as Connection, REQUEST, listener, options);
  reader.begin();
  let sent = 0;
  const credit = (): number => acknowledged + WINDOW_UNITS - sent;
  const send = (segment: LogSegment): void => {
    sent = segment.offset + segment.size;
    handler.onSegment(segment);
  };
  return {
    reader,
    start(offset: number, attempt: number): void {
      acknowledged = Math.min(acknowledged, offset);
      const entry = {
        type: 'start' as const,
        attempt,
        source: 'model' as const,
        provider: 'p',
        model: 'm',
        reason: undefined,
        omittedMessages: 0,
      };
      send({ offset, size: 1, entry });
    },
    /** @returns the number of units that the server was allowed to send. */
    sendText(length: number): number {
      let units = 0;
      for (; units < length && credit() >= UNITS; units += UNITS) {
        send({ offset: sent, size: UNITS, entry: { type: 'text', text: 'x'.repeat(UNITS) } });
      }
      return units;
    },
  };
}

it.each([0, 1, 40_001, 79_001])(
  'acknowledges the text of an attempt that begins at %i, before what was received',
  (offset) => {
    const { reader, start, sendText } = begun();
    start(0, 1);
    expect(sendText(80_000)).toBe(80_000);
    start(offset, 101);
    expect(sendText(200_000)).toBe(200_000);
    expect(reader.received).toMatchObject({ offset: offset + 200_001 });
    expect(reader.received.text).toHaveLength(200_000);
  },
);
