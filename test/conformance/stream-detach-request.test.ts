import { EVENT } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { answered } from './suite/answer.js';
import { it } from './suite/it.js';
import { connect, newId, type Peer } from './suite/peer.js';
import type { Player } from './suite/player.js';

/** The timeout of the protocol: a stream without a reader for longer than this is cancelled. */
const GRACE_MS = 2_000;

/** A stream that has said a word and holds. `stopped` opens when its model is told to stop. */
async function running(player: Player, more: { reader_id?: string } = {}) {
  const auth = { browser_id: newId() };
  const [gate, stopped, id] = [player.gate(), player.gate(), newId()];
  const query = player.script(
    { text: 'One' },
    { hold: gate, given_up: stopped },
    { text: ', two.' },
    { finish: 'stop' },
  );
  const peer = await connect({ auth });
  const reading = await peer.start({ query, stream_id: id, ...more });
  await peer.inbox.until(() => reading.text === 'One');
  const goesOn = async (other: Peer): Promise<void> => {
    const rest = await other.resume({ stream_id: id, offset: 4 });
    await player.open(gate);
    expect(await other.inbox.ended(rest)).toMatchObject({ type: EVENT.end });
    expect(rest.text).toBe(', two.');
  };
  return { auth, peer, reading, id, gate, stopped, goesOn };
}

type Running = Awaited<ReturnType<typeof running>>;

/** The ways in which the last readers can leave a stream without ending it. */
const STAYS: Readonly<Record<string, (player: Player) => Promise<Running>>> = {
  async 'detached, and came back'(player) {
    const stream = await running(player);
    await stream.peer.done(EVENT.detach, { stream_id: stream.id });
    await stream.peer.resume({ stream_id: stream.id, offset: 0 });
    return stream;
  },
  async 'cut off'(player) {
    const stream = await running(player);
    stream.peer.leave();
    return stream;
  },
  async 'one detached, another cut off'(player) {
    const stream = await running(player);
    const other = await connect({ auth: stream.auth });
    await other.resume({ stream_id: stream.id, offset: 0 });
    stream.peer.leave();
    await other.done(EVENT.detach, { stream_id: stream.id });
    return stream;
  },
  async 'cut off, and another `reader_id` says that it does not come back'(player) {
    const stream = await running(player, { reader_id: 'tab-1' });
    stream.peer.leave();
    const other = await connect({ auth: stream.auth });
    await other.done(EVENT.detach, { stream_id: stream.id, reader_id: 'tab-2' });
    return stream;
  },
};

describe('StreamDetachRequest', () => {
  it('of a stream that has ended changes nothing', async () => {
    const { auth, id, units } = await answered();
    const peer = await connect({ auth });
    await peer.done(EVENT.detach, { stream_id: id });
    const late = await peer.resume({ stream_id: id, offset: 0 });
    await peer.inbox.ended(late);
    expect(late.units).toEqual(units);
  });

  it('has nothing more come here, and all to the others', async ({ player }) => {
    const { auth, peer, reading, id, goesOn } = await running(player);
    const other = await connect({ auth });
    await other.resume({ stream_id: id, offset: 0 });
    await peer.done(EVENT.detach, { stream_id: id });
    await goesOn(other);
    await peer.caughtUp();
    expect(reading.text).toBe('One');
  });

  it('by the last reader cancels the stream after two seconds', async ({ player }) => {
    const { peer, id, stopped } = await running(player);
    const left = performance.now();
    await peer.done(EVENT.detach, { stream_id: id });
    expect(await peer.list()).toMatchObject([{ stream_id: id, status: 'streaming' }]);
    await player.opened(stopped);
    expect(performance.now() - left).toBeGreaterThan(GRACE_MS - 100);
    const late = await peer.resume({ stream_id: id, offset: 0 });
    expect(await peer.inbox.ended(late)).toMatchObject({ code: 'cancelled', offset: 4 });
  });

  it('under the `reader_id` of one that was cut off says that it does not come back', async ({
    player,
  }) => {
    const { auth, peer, id, stopped } = await running(player, { reader_id: 'tab-1' });
    peer.leave();
    const other = await connect({ auth });
    await other.done(EVENT.detach, { stream_id: id, reader_id: 'tab-1' });
    await player.opened(stopped);
    const late = await other.resume({ stream_id: id, offset: 0 });
    expect(await other.inbox.ended(late)).toMatchObject({ code: 'cancelled' });
  });

  it('does not, where somebody reads, came back or may come back', async ({ player }) => {
    const stay = await Promise.all(Object.values(STAYS).map((leave) => leave(player)));
    const gone = await running(player);
    await gone.peer.done(EVENT.detach, { stream_id: gone.id });
    // This one, which was left last, is over: so would be the others.
    await player.opened(gone.stopped);
    for (const { auth, id } of stay) {
      const back = await connect({ auth });
      expect(await back.list()).toMatchObject([{ stream_id: id, status: 'streaming' }]);
    }
    for (const { goesOn, auth } of stay) await goesOn(await connect({ auth }));
  });
});
