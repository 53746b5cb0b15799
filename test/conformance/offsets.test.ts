import { EVENT } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { answered } from './suite/answer.js';
import { it } from './suite/it.js';
import { connect, newId } from './suite/peer.js';

describe('Offsets', () => {
  it('begin at 0, have no gap, and the last is that of the end', async () => {
    const { units, terminal } = await answered();
    expect(terminal.offset).toBe(units.length - 1);
  });

  it('give a reader that comes later the same log from its own offset on', async () => {
    const { auth, id, units } = await answered();
    const middle = Math.floor(units.length / 2);
    const peer = await connect({ auth });
    for (const offset of [0, 1, 2, middle, middle + 1, units.length - 1]) {
      const late = await peer.resume({ stream_id: id, offset });
      await peer.inbox.ended(late);
      expect(late.units).toEqual(units.slice(offset));
    }
  });

  it('give a reader nothing that has all', async () => {
    const { auth, id, units } = await answered();
    const peer = await connect({ auth });
    const late = await peer.resume({ stream_id: id, offset: units.length });
    await peer.caughtUp();
    expect(late.reply.status).toBe('ended');
    expect(late.units).toEqual([]);
  });

  it('beyond the end of the log are refused', async () => {
    const { auth, id, units } = await answered();
    const peer = await connect({ auth });
    for (const offset of [units.length + 1, Number.MAX_SAFE_INTEGER]) {
      const error = await peer.refused(EVENT.resume, { stream_id: id, offset });
      expect(error.code).toBe('bad_request');
    }
  });

  it('beyond what has been said so far are refused, and the next is taken', async ({ player }) => {
    const [gate, id] = [player.gate(), newId()];
    const query = player.script({ text: 'so far' }, { hold: gate }, { finish: 'stop' });
    const peer = await connect();
    const reading = await peer.start({ query, stream_id: id });
    await peer.inbox.until(() => reading.text === 'so far');
    const refused = await peer.refused(EVENT.resume, { stream_id: id, offset: 8 });
    expect(refused.code).toBe('bad_request');
    const next = await peer.resume({ stream_id: id, offset: 7 });
    await player.open(gate);
    expect(await peer.inbox.ended(next)).toMatchObject({ type: EVENT.end, offset: 7 });
  });
});

describe('Offsets of text with surrogate pairs', () => {
  const TEXT = 'a😀b👩‍👩‍👧😀😀';

  it('count both halves, and no message splits them however the text came', async ({ player }) => {
    // One unit at a time, and a pause after each of the first: also in the middle of pairs.
    const halves = TEXT.repeat(3).split('');
    const gates = halves.slice(0, TEXT.length).map(() => player.gate());
    const steps = halves.flatMap((text, i) => [
      { text },
      ...(gates[i] ? [{ hold: gates[i] }] : []),
    ]);
    const peer = await connect();
    const query = player.script(...steps, { finish: 'stop' });
    const reading = await peer.start({ query });
    for (const gate of gates) await player.open(gate);
    await peer.inbox.ended(reading);
    expect(reading.text).toBe(TEXT.repeat(3));
    expect(reading.units).toHaveLength(TEXT.repeat(3).length + 2);
  });

  it.for([2, 3, 4, 5, 7])('with a window of %i split none', async (window, { player }) => {
    const query = player.script({ text: TEXT.repeat(4) }, { finish: 'stop' });
    const peer = await connect();
    const reading = await peer.start({ query, window });
    peer.keepUp(reading);
    await peer.inbox.ended(reading);
    expect(reading.text).toBe(TEXT.repeat(4));
  });

  it('can be read from any that is not in the middle of one', async ({ player }) => {
    const query = player.script({ text: TEXT }, { finish: 'stop' });
    const peer = await connect();
    const whole = await peer.start({ query });
    await peer.inbox.ended(whole);
    for (let offset = 0; offset < whole.units.length; offset++) {
      // No message ends there, so no reader has half a pair: what comes is the server's affair.
      if (/^[\uDC00-\uDFFF]$/.test(whole.units[offset]!)) continue;
      const late = await peer.resume({ stream_id: whole.id, offset });
      await peer.inbox.ended(late);
      expect(late.units).toEqual(whole.units.slice(offset));
    }
  });
});
