import { receive, receiveQueued, receiveLoading, type ReceivedAnswer } from './receive.js';
import type { ResponseEvent } from '../types.js';

/** @returns the state after `event`: the inverse of the events that `receive` returns. */
export function receiveEvent(received: ReceivedAnswer, event: ResponseEvent): ReceivedAnswer {
  if (event.type === 'queued') return receiveQueued(received, event.ahead);
  if (event.type === 'loading') return receiveLoading(received, event);
  const size = event.type === 'text' ? event.text.length : 1;
  const result = receive(received, {
    offset: received.offset,
    size,
    entry: entryOf(event, received),
  });
  return result === undefined || result === 'gap' ? received : result.received;
}

type Entry = Parameters<typeof receive>[1]['entry'];

function entryOf(
  event: Exclude<ResponseEvent, { type: 'queued' | 'loading' }>,
  { text }: ReceivedAnswer,
): Entry {
  switch (event.type) {
    case 'start': {
      const { type, attempt, provider, model, reason, omittedMessages = 0 } = event;
      const source = event.source === 'model' ? 'model' : 'cache';
      return { type, attempt, source, provider, model, reason, omittedMessages };
    }
    case 'end': {
      const { type, finishReason, usage, timing } = event;
      const server = timing.server ?? { total_ms: timing.totalMs };
      const totalLength = text.length;
      return { type, finishReason, usage, totalLength, digest: '', timing: server };
    }
    case 'text':
    case 'thought':
    case 'tool_call':
    case 'tool_decision':
    case 'tool_result':
      return event;
  }
}
