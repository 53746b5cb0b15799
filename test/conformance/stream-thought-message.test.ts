import { EVENT, LIMITS } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { answered } from './suite/answer.js';
import { it } from './suite/it.js';
import { connect, newId } from './suite/peer.js';
import type { Reading } from './suite/reading.js';

const ASKED = { options: { thoughts: true } };
const WINDOWS = [{}, { window: 65_536 }];

const types = ({ messages }: Reading): string[] => messages.map(({ type }) => type);

/** The data of each `stream_thought`, with its offset. */
function thoughtsOf({ messages }: Reading): [number, string][] {
  return messages.flatMap((message) =>
    message.type === EVENT.thought ? [[message.offset, message.data]] : [],
  );
}

describe('StreamThoughtMessage', () => {
  it.for(WINDOWS)('comes before the text, to a reader with %o', async (window, { player }) => {
    const peer = await connect();
    const query = player.script(
      { thought: 'The user ' },
      { thought: 'wants 🦊.' },
      { text: 'A fox.' },
      { finish: 'stop' },
    );
    const reading = await peer.start({ query, ...ASKED, ...window });
    // Neither `total_length` nor `digest` covers thoughts: the suite compares them with the text.
    expect(await peer.inbox.ended(reading)).toMatchObject({ total_length: 6, offset: 9 });
    expect(types(reading).slice(0, 3)).toEqual([EVENT.start, EVENT.thought, EVENT.thought]);
    expect(thoughtsOf(reading).map(([, data]) => data)).toEqual(['The user ', 'wants 🦊.']);
    expect(reading.text).toBe('A fox.');
  });

  it.for([{}, { options: { thoughts: false } }])(
    'does not come where it was not asked for: %o',
    async (options, { player }) => {
      const peer = await connect();
      const query = player.script({ thought: 'Hm.' }, { text: 'A fox.' }, { finish: 'stop' });
      const reading = await peer.start({ query, ...options });
      await peer.inbox.ended(reading);
      expect(thoughtsOf(reading)).toEqual([]);
      expect(reading.text).toBe('A fox.');
    },
  );

  it('has at most 4,096 units, and splits no surrogate pair', async ({ player }) => {
    const peer = await connect();
    const long = `x${'🦊'.repeat(LIMITS.thoughtUnits)}`;
    const query = player.script({ thought: long }, { text: 'A fox.' }, { finish: 'stop' });
    const reading = await peer.start({ query, ...ASKED });
    await peer.inbox.ended(reading);
    const pieces = thoughtsOf(reading).map(([, data]) => data);
    expect(pieces.join('')).toBe(long);
    for (const piece of pieces) expect(piece.isWellFormed()).toBe(true);
  });

  it('is part of the log, and comes again to who reads it later', async ({ player }) => {
    const gate = player.gate();
    const auth = { browser_id: newId() };
    const peer = await connect({ auth });
    const query = player.script(
      { thought: 'One.' },
      { thought: 'Two.' },
      { hold: gate },
      { text: 'A fox.' },
      { finish: 'stop' },
    );
    const reading = await peer.start({ query, ...ASKED, window: 65_536 });
    await peer.inbox.until(() => thoughtsOf(reading).length === 2);
    const late = await connect({ auth });
    const rest = await late.resume({ stream_id: reading.id, offset: 2, window: 65_536 });
    expect(rest.reply.status).toBe('waiting');
    expect(await late.list()).toMatchObject([{ status: 'waiting', offset: 3 }]);
    await player.open(gate);
    await Promise.all([peer.inbox.ended(reading), late.inbox.ended(rest)]);
    expect(thoughtsOf(rest)).toEqual([[2, 'Two.']]);
    expect(rest.units).toEqual(reading.units.slice(2));
    const all = await late.resume({ stream_id: reading.id, offset: 0, window: 65_536 });
    await late.inbox.ended(all);
    expect(all.units).toEqual(reading.units);
  });

  it('belongs to its attempt: after it alone, a failure is one before text', async ({ player }) => {
    const query = () =>
      player.script(
        { thought: 'Wrong.' },
        { fail: 'unavailable' },
        { thought: 'Right.' },
        { text: 'A fox.' },
        { finish: 'stop' },
      );
    const peer = await connect();
    const reading = await peer.start({ query: query(), ...ASKED, window: 65_536 });
    expect(await peer.inbox.ended(reading)).toMatchObject({ type: EVENT.end });
    const starts = reading.messages.filter(({ type }) => type === EVENT.start);
    expect(starts).toMatchObject([{ attempt: 1 }, { attempt: 2, reason: expect.any(String) }]);
    expect(thoughtsOf(reading)).toEqual([
      [1, 'Wrong.'],
      [3, 'Right.'],
    ]);
    // A plain reader gets it, too: no text was sent that it could not take back.
    const plain = await peer.start({ query: query(), ...ASKED });
    expect(await peer.inbox.ended(plain)).toMatchObject({ type: EVENT.end });
    expect(types(plain).filter((type) => type === EVENT.start)).toHaveLength(2);
    expect(plain.text).toBe('A fox.');
  });

  it('is no part of what makes a question another one for a cache', async () => {
    const { auth, query, text } = await answered();
    const peer = await connect({ auth });
    const reading = await peer.start({ query, ...ASKED });
    await peer.inbox.ended(reading);
    const source = reading.terminal?.type === EVENT.end ? reading.terminal.source : undefined;
    if (source === 'cache') expect([reading.text, thoughtsOf(reading)]).toEqual([text, []]);
  });
});
