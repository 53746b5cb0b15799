import { EVENT } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { PLAIN } from './suite/answer.js';
import { it } from './suite/it.js';
import { connect, newId, refusedConnection } from './suite/peer.js';
import type { Player } from './suite/player.js';

/** A server that closes, and has two streams of one principal running. */
async function closing(player: Player) {
  const { url, drain_ms: drainMs } = await player.serve('closing');
  const auth = { browser_id: newId() };
  const gate = player.gate();
  const peer = await connect({ url, auth });
  const ending = await peer.start({
    query: player.script({ text: 'One' }, { hold: gate }, { text: ', two.' }, { finish: 'stop' }),
  });
  const endless = await peer.start({
    query: player.script({ text: 'x' }, { hold: player.gate() }),
    window: 1_000,
  });
  await peer.inbox.until(() => ending.text === 'One' && endless.text === 'x');
  await player.close(url);
  await peer.inbox.until(() => peer.inbox.closing !== undefined);
  return { url, auth, gate, peer, ending, endless, drainMs };
}

describe('ServerClosingMessage', () => {
  it('says how long there is, and goes to whoever is connected', async ({ player }) => {
    const { url, drain_ms: drainMs } = await player.serve('closing');
    const reader = await connect({ url });
    const idle = await connect({ url });
    await reader.start({ query: player.script({ text: 'x' }, { hold: player.gate() }) });
    await player.close(url);
    for (const { inbox } of [reader, idle]) {
      await inbox.until(() => inbox.closing !== undefined);
      // The remaining part of the time.
      expect(inbox.closing?.drain_ms).toBeLessThanOrEqual(drainMs!);
      expect(inbox.closing?.drain_ms).toBeGreaterThan(drainMs! / 2);
    }
  });

  it('is followed by no new streams', async ({ player }) => {
    const { peer } = await closing(player);
    expect((await peer.refused(EVENT.start, { query: PLAIN })).code).toBe('overloaded');
  });

  it('has what runs come to its end', async ({ player }) => {
    const { peer, ending, gate } = await closing(player);
    await player.open(gate);
    expect(await peer.inbox.ended(ending)).toMatchObject({ type: EVENT.end });
    expect(ending.text).toBe('One, two.');
  });

  it('has what runs too long end with `interrupted`', async ({ player }) => {
    const { peer, endless } = await closing(player);
    expect(await peer.inbox.ended(endless)).toMatchObject({
      code: 'interrupted',
      offset: 2,
    });
  });

  it('lets only those connect that have a stream running', async ({ player }) => {
    const { url, auth, gate, ending, endless } = await closing(player);
    expect((await refusedConnection({ url })).code).toBe('overloaded');
    const forNew = { ...auth, new_streams: true };
    expect((await refusedConnection({ url, auth: forNew })).code).toBe('overloaded');
    const requests = [{ type: EVENT.resume, stream_id: ending.id, offset: 2 }];
    const back = await connect({ url, auth: { ...auth, requests } });
    await back.inbox.until(() => back.inbox.opened.length === 1);
    const rest = back.inbox.opened[0]!.reading!;
    await back.done(EVENT.cancel, { stream_id: endless.id });
    await player.open(gate);
    await back.inbox.ended(rest);
    expect(rest.text).toBe('ne, two.');
  });
});
