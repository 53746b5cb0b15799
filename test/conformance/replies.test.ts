import { EVENT } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { answered, PLAIN } from './suite/answer.js';
import { it } from './suite/it.js';
import { connect, newId } from './suite/peer.js';

// Every reader of this suite checks that a reply comes before the stream's messages, and that it has a `ref`
// if the request had a window.

describe('StreamReply', () => {
  it('says `ended` once all there will be is in the log', async () => {
    const { auth, id } = await answered();
    const reading = await (await connect({ auth })).resume({ stream_id: id, offset: 0 });
    const { request_id: requestId, ...reply } = reading.reply;
    expect(requestId === undefined || typeof requestId === 'string').toBe(true);
    expect(reply).toEqual({
      ok: true,
      stream_id: id,
      status: 'ended',
      epoch: expect.any(String),
      attempt: 1,
    });
  });

  it('has the `epoch` of the log, the same for every reader, and another for each stream', async () => {
    const { auth, id, query } = await answered();
    const peer = await connect({ auth });
    const [one, two] = [
      await peer.resume({ stream_id: id, offset: 0 }),
      await peer.resume({ stream_id: id, offset: 3, window: 100 }),
    ];
    expect(one.reply.epoch).toBe(two.reply.epoch);
    expect((await peer.start({ query })).reply.epoch).not.toBe(one.reply.epoch);
  });

  it('has `attempt` 0 before the first attempt begins, then the newest', async ({ player }) => {
    const [gate, held, id] = [player.gate(), player.gate(), newId()];
    const query = player.script(
      { hold: gate },
      { text: 'Paris' },
      { fail: 'unavailable' },
      { text: 'The capital' },
      { hold: held },
      { finish: 'stop' },
    );
    const peer = await connect();
    const reading = await peer.start({ query, stream_id: id, window: 1_000 });
    expect(reading.reply.attempt).toBe(0);
    await player.open(gate);
    await peer.inbox.until(() => reading.text === 'The capital');
    expect((await peer.resume({ stream_id: id, offset: 0, window: 1_000 })).reply.attempt).toBe(2);
    await player.open(held);
  });

  it('says `waiting` before the first text, and `streaming` after it', async ({ player }) => {
    const [first, second, id] = [player.gate(), player.gate(), newId()];
    const query = player.script(
      { hold: first },
      { text: 'x' },
      { hold: second },
      { finish: 'stop' },
    );
    const peer = await connect();
    const reading = await peer.start({ query, stream_id: id });
    expect(reading.reply.status).toBe('waiting');
    await player.open(first);
    await peer.inbox.until(() => reading.text === 'x');
    const late = await peer.resume({ stream_id: id, offset: 0 });
    expect(late.reply.status).toBe('streaming');
    await player.open(second);
    await peer.inbox.ended(late);
  });

  it('has a `ref` for each stream that is read with a window', async () => {
    const peer = await connect();
    const readings = await Promise.all(
      [1, 2, 3].map((temperature) =>
        peer.start({ query: PLAIN, window: 32, options: { temperature: temperature / 2 } }),
      ),
    );
    expect(new Set(readings.map(({ reply }) => reply.ref)).size).toBe(3);
    for (const reading of readings) peer.keepUp(reading);
    for (const reading of readings) await peer.inbox.ended(reading);
  });
});

describe('ErrorReply', () => {
  it('means that nothing has changed', async () => {
    const peer = await connect();
    const id = newId();
    await peer.refused(EVENT.start, { query: ' ', stream_id: id });
    await peer.refused(EVENT.resume, { stream_id: id, offset: 0 });
    expect(await peer.list()).toEqual([]);
    const reading = await peer.start({ query: PLAIN, stream_id: id });
    expect(await peer.inbox.ended(reading)).toMatchObject({ type: EVENT.end });
  });
});
