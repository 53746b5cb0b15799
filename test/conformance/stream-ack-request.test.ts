import { EVENT } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { answered } from './suite/answer.js';
import { it } from './suite/it.js';
import { connect, newId } from './suite/peer.js';

const TEXT = 'abcdefghijklmnopqrstuvwxyz';

describe('StreamAckRequest', () => {
  it.for([4, 16, 64])('gives a reader with a window of %i the next part', async (window) => {
    const { auth, id, units } = await answered();
    const peer = await connect({ auth });
    // Every reader of this suite checks that it never receives more than its credit.
    const reading = await peer.resume({ stream_id: id, offset: 0, window });
    peer.keepUp(reading);
    await peer.inbox.ended(reading);
    expect(reading.units).toEqual(units);
  });

  it.for([2, 5, 10, 100])(
    'is waited for once a window of %i is full',
    async (window, { player }) => {
      const query = player.script({ text: TEXT }, { finish: 'stop' });
      const auth = { browser_id: newId() };
      const [fast, slow] = [await connect({ auth }), await connect({ auth })];
      const whole = await fast.start({ query });
      await fast.inbox.ended(whole);
      const reading = await slow.resume({ stream_id: whole.id, offset: 0, window });
      const full = Math.min(window, whole.units.length);
      await slow.inbox.until(() => reading.next === full);
      await slow.caughtUp();
      expect(reading.next).toBe(full);
      slow.keepUp(reading);
      await slow.inbox.ended(reading);
      expect(reading.units).toEqual(whole.units);
    },
  );

  it('of a part of the window gives as much again', async ({ player }) => {
    const query = player.script({ text: TEXT }, { finish: 'stop' });
    const peer = await connect();
    const reading = await peer.start({ query, window: 8 });
    await peer.inbox.until(() => reading.next === 8);
    peer.ack(reading, 2);
    await peer.inbox.until(() => reading.next === 10);
    peer.ack(reading, 5);
    await peer.inbox.until(() => reading.next === 13);
    await peer.caughtUp();
    expect(reading.next).toBe(13);
  });

  it('that is smaller by one unit than the window gives one unit', async ({ player }) => {
    const query = player.script({ text: TEXT }, { finish: 'stop' });
    const peer = await connect();
    const reading = await peer.start({ query, window: 8 });
    await peer.inbox.until(() => reading.next === 8);
    peer.ack(reading, 1);
    await peer.inbox.until(() => reading.next === 9);
    await peer.caughtUp();
    expect(reading.next).toBe(9);
  });

  it('beyond what was sent, back, or of no window changes nothing', async ({ player }) => {
    const query = player.script({ text: TEXT }, { finish: 'stop' });
    const peer = await connect();
    const reading = await peer.start({ query, window: 8 });
    await peer.inbox.until(() => reading.next === 8);
    const wrong = async (offset: number) => peer.done(EVENT.ack, { stream_id: reading.id, offset });
    await wrong(9);
    await wrong(1_000_000);
    await peer.caughtUp();
    expect(reading.next).toBe(8);
    peer.ack(reading, 4);
    await peer.inbox.until(() => reading.next === 12);
    await wrong(2);
    await wrong(4);
    await peer.caughtUp();
    expect(reading.next).toBe(12);
  });

  it('that goes back takes no credit away', async ({ player }) => {
    const gate = player.gate();
    const query = player.script(
      { text: 'abcd' },
      { hold: gate },
      { text: TEXT },
      { finish: 'stop' },
    );
    const peer = await connect();
    const reading = await peer.start({ query, window: 8 });
    await peer.inbox.until(() => reading.next === 5);
    peer.ack(reading);
    await peer.done(EVENT.ack, { stream_id: reading.id, offset: 1 });
    await player.open(gate);
    await peer.inbox.until(() => reading.next === 13);
  });

  it('moves no other connection’s reader', async ({ player }) => {
    const query = player.script({ text: TEXT }, { finish: 'stop' });
    const auth = { browser_id: newId() };
    const [one, two] = [await connect({ auth }), await connect({ auth })];
    const first = await one.start({ query, window: 8 });
    const second = await two.resume({ stream_id: first.id, offset: 0, window: 4 });
    await one.inbox.until(() => first.next === 8);
    await two.inbox.until(() => second.next === 4);
    one.ack(first);
    await one.inbox.until(() => first.next === 16);
    await two.caughtUp();
    expect(second.next).toBe(4);
  });
});
