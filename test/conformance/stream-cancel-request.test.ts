import { EVENT } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { answered, PLAIN } from './suite/answer.js';
import { it } from './suite/it.js';
import { connect, newId } from './suite/peer.js';

const CANCELLED = { type: EVENT.error, code: 'cancelled' };

describe('StreamCancelRequest', () => {
  it('ends the stream, whenever it comes', async () => {
    const peer = await connect();
    const id = newId();
    const reading = await peer.start({ query: PLAIN, stream_id: id });
    await peer.done(EVENT.cancel, { stream_id: id });
    const { type } = await peer.inbox.ended(reading);
    expect([EVENT.end, EVENT.error]).toContain(type);
    expect(await peer.list()).toEqual([]);
    const late = await peer.resume({ stream_id: id, offset: 0 });
    await peer.inbox.ended(late);
    expect(late.units).toEqual(reading.units);
  });

  it('of a stream that has ended changes nothing', async () => {
    const { auth, id, units } = await answered();
    const peer = await connect({ auth });
    await peer.done(EVENT.cancel, { stream_id: id });
    const late = await peer.resume({ stream_id: id, offset: 0 });
    await peer.inbox.ended(late);
    expect(late.units).toEqual(units);
  });

  it('before the first text leaves a log of one error', async ({ player }) => {
    const [gate, stopped, id] = [player.gate(), player.gate(), newId()];
    const query = player.script({ hold: gate, given_up: stopped }, { finish: 'stop' });
    const peer = await connect();
    const reading = await peer.start({ query, stream_id: id, window: 100 });
    await peer.done(EVENT.cancel, { stream_id: id });
    expect(await peer.inbox.ended(reading)).toMatchObject({ ...CANCELLED, offset: 0 });
  });

  it('ends it for all its readers, from another connection, too', async ({ player }) => {
    const [gate, stopped, id] = [player.gate(), player.gate(), newId()];
    const query = player.script(
      { text: 'So far' },
      { hold: gate, given_up: stopped },
      { text: ' and on' },
      { finish: 'stop' },
    );
    const auth = { browser_id: newId() };
    const [one, two, three] = [
      await connect({ auth }),
      await connect({ auth }),
      await connect({ auth }),
    ];
    const first = await one.start({ query, stream_id: id });
    await one.inbox.until(() => first.text === 'So far');
    const second = await two.resume({ stream_id: id, offset: 3, window: 100 });
    await three.done(EVENT.cancel, { stream_id: id });
    for (const [peer, reading] of [
      [one, first],
      [two, second],
    ] as const) {
      expect(await peer.inbox.ended(reading)).toMatchObject({ ...CANCELLED, offset: 7 });
    }
    expect(first.text).toBe('So far');
    // The model was told to stop.
    await player.opened(stopped);
    await player.open(gate);
    await three.done(EVENT.cancel, { stream_id: id });
    const late = await three.resume({ stream_id: id, offset: 0 });
    await three.inbox.ended(late);
    expect(late.units).toEqual(first.units);
  });

  it('by a stranger is refused, and the stream goes on', async ({ player }) => {
    const [gate, id] = [player.gate(), newId()];
    const query = player.script({ text: 'mine' }, { hold: gate }, { finish: 'stop' });
    const [owner, stranger] = [await connect(), await connect()];
    const reading = await owner.start({ query, stream_id: id });
    await owner.inbox.until(() => reading.text === 'mine');
    expect((await stranger.refused(EVENT.cancel, { stream_id: id })).code).toBe('not_found');
    expect((await stranger.refused(EVENT.detach, { stream_id: id })).code).toBe('not_found');
    await player.open(gate);
    expect(await owner.inbox.ended(reading)).toMatchObject({ type: EVENT.end });
  });

  it('that crosses the end leaves one end', async ({ player }) => {
    const peer = await connect();
    const terminals = await Promise.all(
      Array.from({ length: 10 }, async () => {
        const gate = player.gate();
        const query = player.script({ text: 'x' }, { hold: gate }, { finish: 'stop' });
        const reading = await peer.start({ query });
        await peer.inbox.until(() => reading.text === 'x');
        await Promise.all([
          player.open(gate),
          peer.done(EVENT.cancel, { stream_id: reading.id }),
          peer.done(EVENT.cancel, { stream_id: reading.id }),
        ]);
        return peer.inbox.ended(reading);
      }),
    );
    await peer.caughtUp();
    for (const { type, offset } of terminals) {
      expect([EVENT.end, EVENT.error]).toContain(type);
      expect(offset).toBe(2);
    }
  });

  it('reaches a reader without credit once it acknowledges', async ({ player }) => {
    const [gate, id] = [player.gate(), newId()];
    const query = player.script({ text: 'abcdefgh' }, { hold: gate }, { finish: 'stop' });
    const peer = await connect();
    const reading = await peer.start({ query, stream_id: id, window: 4 });
    await peer.inbox.until(() => reading.next === 4);
    await peer.done(EVENT.cancel, { stream_id: id });
    peer.keepUp(reading);
    expect(await peer.inbox.ended(reading)).toMatchObject({ ...CANCELLED, offset: 9 });
    expect(reading.text).toBe('abcdefgh');
  });

  it('of one that waits for a model frees its place', async ({ player }) => {
    const { url } = await player.serve('one_place');
    const gate = player.gate();
    const hold = () => player.script({ hold: gate }, { finish: 'stop' });
    const peer = await connect({ url });
    const one = await peer.start({ query: hold() });
    const two = await peer.start({ query: hold(), window: 100 });
    const three = await peer.start({ query: player.script({ text: '3' }, { finish: 'stop' }) });
    await peer.inbox.until(() => three.messages.length > 0);
    await peer.done(EVENT.cancel, { stream_id: two.id });
    expect(await peer.inbox.ended(two)).toMatchObject({ ...CANCELLED, offset: 0 });
    await peer.done(EVENT.cancel, { stream_id: one.id });
    await peer.inbox.ended(three);
    expect(three.text).toBe('3');
  });
});
