import { EVENT } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { it } from './suite/it.js';
import { checkError, connect, newId } from './suite/peer.js';
import type { Terminal } from './suite/shapes.js';

/** Its failure, as retryable as the table of codes says. */
function failureOf(terminal: Terminal): string {
  if (terminal.type !== EVENT.error) throw new Error('the stream did not fail');
  const { type: _, stream_id: __, session_id: ___, offset: ____, ...error } = terminal;
  return checkError(error).code;
}

describe('StreamErrorMessage', () => {
  it('ends the log where the model broke off, and the text stands', async ({ player }) => {
    const auth = { browser_id: newId() };
    const peer = await connect({ auth });
    const query = player.script({ text: 'So far' }, { fail: 'content_filter' });
    const reading = await peer.start({ query, session_id: 's' });
    const terminal = await peer.inbox.ended(reading);
    expect(failureOf(terminal)).toBe('content_filter');
    expect(terminal.offset).toBe(7);
    expect(reading.text).toBe('So far');
    const late = await (await connect({ auth })).resume({ stream_id: reading.id, offset: 7 });
    expect(late.reply.status).toBe('ended');
  });

  it('is the whole log where no model could answer', async ({ player }) => {
    const peer = await connect();
    const reading = await peer.start({
      query: player.script({ fail: 'unavailable' }),
      window: 100,
    });
    const terminal = await peer.inbox.ended(reading);
    expect(failureOf(terminal)).not.toBe('cancelled');
    expect(terminal.offset).toBe(0);
  });

  it('comes where a model stops without an end', async ({ player }) => {
    const peer = await connect();
    const reading = await peer.start({ query: player.script({ text: 'x' }) });
    failureOf(await peer.inbox.ended(reading));
    expect(await peer.list()).toEqual([]);
  });
});
