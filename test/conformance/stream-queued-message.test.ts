import { EVENT } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { it } from './suite/it.js';
import { connect, newId } from './suite/peer.js';
import type { Player } from './suite/player.js';
import type { Reading } from './suite/reading.js';

/** The messages of a reader in order: the number of requests before it, or the type of message. */
const told = ({ messages }: Reading): (number | string)[] =>
  messages.map((message) => (message.type === EVENT.queued ? message.ahead : message.type));

/** A model that answers one at a time, with three questions, each of which holds. */
async function three(player: Player) {
  const { url } = await player.serve('one_place');
  const auth = { browser_id: newId() };
  const peer = await connect({ url, auth });
  const ask = async () => {
    const gate = player.gate();
    const query = player.script({ hold: gate }, { text: 'x' }, { finish: 'stop' });
    return { gate, reading: await peer.start({ query, session_id: 's', window: 100 }) };
  };
  const [one, two, last] = [await ask(), await ask(), await ask()];
  await peer.inbox.until(() => told(last.reading).length === 1);
  return { url, auth, peer, one, two, last };
}

describe('StreamQueuedMessage', () => {
  it('tells how many are ahead whenever that changes, until the first text', async ({ player }) => {
    const { peer, one, two, last } = await three(player);
    expect(told(last.reading)).toEqual([2]);
    for (const { gate, reading } of [one, two, last]) {
      await player.open(gate);
      await peer.inbox.ended(reading);
    }
    expect(told(last.reading)).toEqual([2, 1, 0, EVENT.start, EVENT.chunk, EVENT.end]);
    expect(told(two.reading)).toEqual([1, 0, EVENT.start, EVENT.chunk, EVENT.end]);
  });

  it('goes to every reader, and to one that attaches while it holds', async ({ player }) => {
    const { url, auth, peer, one, two, last } = await three(player);
    const other = await connect({ url, auth });
    const late = await other.resume({ stream_id: last.reading.id, offset: 0, window: 100 });
    expect(late.reply.status).toBe('queued');
    await other.inbox.until(() => told(late).length === 1);
    await player.open(one.gate);
    await peer.inbox.until(() => told(last.reading).length === 2);
    await other.inbox.until(() => told(late).length === 2);
    expect(told(late)).toEqual([2, 1]);
    for (const { gate } of [two, last]) await player.open(gate);
    await other.inbox.ended(late);
  });

  it('is no part of the log: who comes later hears nothing of it', async ({ player }) => {
    const { url, auth, peer, one, two, last } = await three(player);
    for (const { gate } of [one, two, last]) await player.open(gate);
    await peer.inbox.ended(last.reading);
    const other = await connect({ url, auth });
    const late = await other.resume({ stream_id: last.reading.id, offset: 0 });
    await other.inbox.ended(late);
    expect(told(late)).toEqual([EVENT.start, EVENT.chunk, EVENT.end]);
  });

  it('goes with the status `queued`, which is `waiting` once it is its turn', async ({
    player,
  }) => {
    const { peer, one, two, last } = await three(player);
    const listed = async () => (await peer.list()).map(({ status }) => status);
    expect(await listed()).toEqual(['waiting', 'queued', 'queued']);
    await player.open(one.gate);
    await peer.inbox.until(() => told(two.reading).includes(0));
    expect(await listed()).toEqual(['waiting', 'queued']);
    for (const { gate } of [two, last]) await player.open(gate);
    await peer.inbox.ended(last.reading);
  });
});
