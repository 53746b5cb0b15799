import { EVENT } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { answered } from './suite/answer.js';
import { it } from './suite/it.js';
import { connect, newId, type Peer } from './suite/peer.js';
import type { Player } from './suite/player.js';

/** What the protocol itself waits: nobody reads for longer than this, and the stream is cancelled. */
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
    const rest = await other.attach({ stream_id: id, offset: 4 });
    await player.open(gate);
    expect(await other.inbox.ended(rest)).toMatchObject({ type: EVENT.end });
    expect(rest.text).toBe(', two.');
  };
  return { auth, peer, reading, id, gate, stopped, goesOn };
}

describe('StreamDetachRequest', () => {
  it('of a stream that has ended changes nothing', async () => {
    const { auth, id, units } = await answered();
    const peer = await connect({ auth });
    await peer.done(EVENT.detach, { stream_id: id });
    const late = await peer.attach({ stream_id: id, offset: 0 });
    await peer.inbox.ended(late);
    expect(late.units).toEqual(units);
  });

  it('has nothing more come here, and all to the others', async ({ player }) => {
    const { auth, peer, reading, id, goesOn } = await running(player);
    const other = await connect({ auth });
    await other.attach({ stream_id: id, offset: 0 });
    await peer.done(EVENT.detach, { stream_id: id });
    await goesOn(other);
    await peer.caughtUp();
    expect(reading.text).toBe('One');
  });

  it('by the last reader cancels the stream after two seconds', async ({ player }) => {
    const { peer, id, stopped } = await running(player);
    await peer.done(EVENT.detach, { stream_id: id });
    const left = performance.now();
    expect(await peer.list()).toMatchObject([{ stream_id: id, status: 'streaming' }]);
    await player.opened(stopped);
    expect(performance.now() - left).toBeGreaterThan(GRACE_MS - 100);
    const late = await peer.attach({ stream_id: id, offset: 0 });
    expect(await peer.inbox.ended(late)).toMatchObject({ code: 'cancelled', offset: 4 });
  });

  it('does not, where a reader comes back in time', async ({ player }) => {
    const [back, gone] = [await running(player), await running(player)];
    await back.peer.done(EVENT.detach, { stream_id: back.id });
    await gone.peer.done(EVENT.detach, { stream_id: gone.id });
    const reading = await back.peer.attach({ stream_id: back.id, offset: 0 });
    await back.peer.inbox.until(() => reading.text === 'One');
    // The other, left later, is over: so would be this one.
    await player.opened(gone.stopped);
    await back.goesOn(back.peer);
  });

  it('is something else than a connection that breaks: the stream goes on', async ({ player }) => {
    const [lost, gone] = [await running(player), await running(player)];
    lost.peer.leave();
    await gone.peer.done(EVENT.detach, { stream_id: gone.id });
    await player.opened(gone.stopped);
    const back = await connect({ auth: lost.auth });
    expect(await back.list()).toMatchObject([{ stream_id: lost.id }]);
    await lost.goesOn(back);
  });

  it('does not cancel while a reader that was cut off may come back', async ({ player }) => {
    const [stream, gone] = [await running(player), await running(player)];
    const other = await connect({ auth: stream.auth });
    await other.attach({ stream_id: stream.id, offset: 0 });
    stream.peer.leave();
    await other.done(EVENT.detach, { stream_id: stream.id });
    await gone.peer.done(EVENT.detach, { stream_id: gone.id });
    await player.opened(gone.stopped);
    await stream.goesOn(other);
  });

  it('under the `reader_id` of one that was cut off says that it does not come back', async ({
    player,
  }) => {
    const { auth, peer, id, stopped } = await running(player, { reader_id: 'tab-1' });
    peer.leave();
    const other = await connect({ auth });
    await other.done(EVENT.detach, { stream_id: id, reader_id: 'tab-1' });
    await player.opened(stopped);
    const late = await other.attach({ stream_id: id, offset: 0 });
    expect(await other.inbox.ended(late)).toMatchObject({ code: 'cancelled' });
  });

  it('under another `reader_id` says nothing of that one', async ({ player }) => {
    const [lost, gone] = [await running(player, { reader_id: 'tab-1' }), await running(player)];
    lost.peer.leave();
    const other = await connect({ auth: lost.auth });
    await other.done(EVENT.detach, { stream_id: lost.id, reader_id: 'tab-2' });
    await gone.peer.done(EVENT.detach, { stream_id: gone.id });
    await player.opened(gone.stopped);
    await lost.goesOn(other);
  });
});
