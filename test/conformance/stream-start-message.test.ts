import { EVENT } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { answered } from './suite/answer.js';
import { it } from './suite/it.js';
import { connect, newId } from './suite/peer.js';
import type { Reading } from './suite/reading.js';

const types = ({ messages }: Reading): string[] => messages.map(({ type }) => type);

describe('StreamStartMessage', () => {
  it('is the first of the log, attempt 1', async () => {
    const { units } = await answered();
    const first: unknown = JSON.parse(units[0]!);
    expect(first).toMatchObject({ type: EVENT.start, offset: 0, attempt: 1 });
  });

  it('asked the same again may come from the server’s cache, by the same rules', async () => {
    const { auth, query, text } = await answered();
    const peer = await connect({ auth });
    const again = await peer.start({ query, window: 1_000_000 });
    await peer.inbox.ended(again);
    const [start] = again.messages;
    if (start?.type === EVENT.start && 'source' in start && start.source === 'cache')
      expect(again.text).toBe(text);
    expect(again.text).not.toBe('');
  });

  it('with `reload` does not', async () => {
    const { auth, query } = await answered();
    const peer = await connect({ auth });
    const again = await peer.start({ query, options: { cache: 'reload' }, window: 1_000_000 });
    await peer.inbox.ended(again);
    expect(again.messages.find(({ type }) => type === EVENT.start)).toMatchObject({
      source: 'model',
    });
  });

  it('of a further attempt begins the text again', async ({ player }) => {
    const query = player.script(
      { text: 'Paris' },
      { fail: 'unavailable' },
      { text: 'The capital' },
      { finish: 'stop' },
    );
    const peer = await connect();
    const reading = await peer.start({ query, window: 1_000 });
    const end = await peer.inbox.ended(reading);
    const [, second] = reading.messages.filter(({ type }) => type === EVENT.start);
    expect(second).toMatchObject({ offset: 6, attempt: 2, reason: expect.any(String) });
    expect(reading.text).toBe('The capital');
    // The rules of each reader hold `total_length` and `digest` against the last attempt's text.
    expect(end).toMatchObject({ type: EVENT.end, total_length: 11, offset: 18 });
  });

  it('comes with the first text: a model that failed before it is not seen', async ({ player }) => {
    const query = player.script({ fail: 'unavailable' }, { text: 'Here.' }, { finish: 'stop' });
    const peer = await connect();
    const reading = await peer.start({ query });
    await peer.inbox.ended(reading);
    expect(types(reading)).toEqual([EVENT.start, EVENT.chunk, EVENT.end]);
    expect(reading.messages[0]).toMatchObject({ attempt: 1 });
  });

  it('of both attempts are in the log for whoever comes later, and can be read from', async ({
    player,
  }) => {
    const auth = { browser_id: newId() };
    const [gate, id] = [player.gate(), newId()];
    const query = player.script(
      { text: 'Paris' },
      { hold: gate },
      { fail: 'unavailable' },
      { text: 'The capital' },
      { finish: 'stop' },
    );
    const peer = await connect({ auth });
    const reading = await peer.start({ query, stream_id: id, window: 1_000 });
    await peer.inbox.until(() => reading.text === 'Paris');
    await player.open(gate);
    await peer.inbox.ended(reading);
    const other = await connect({ auth });
    for (let offset = 0; offset < reading.units.length; offset++) {
      const late = await other.resume({ stream_id: id, offset, window: 1_000 });
      await other.inbox.ended(late);
      expect(late.units).toEqual(reading.units.slice(offset));
    }
  });
});
