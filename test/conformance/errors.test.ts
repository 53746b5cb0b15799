import { EVENT } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { PLAIN } from './suite/answer.js';
import { it } from './suite/it.js';
import { connect, newId } from './suite/peer.js';
import type { Player } from './suite/player.js';

// The suite checks every refusal against the column "retryable" of the table.

/** A principal that has no start left. */
async function spent(player: Player) {
  const { url, starts = 0, resumes = 0 } = await player.serve('limited');
  const auth = { browser_id: newId() };
  const peer = await connect({ url, auth });
  const id = newId();
  const reading = await peer.start({ query: PLAIN, stream_id: id });
  for (let i = 1; i < starts; i++) await peer.start({ query: PLAIN });
  await peer.inbox.ended(reading);
  return { url, auth, peer, id, units: reading.units, resumes };
}

describe('Errors', () => {
  it('`rate_limited` say when to come back', async ({ player }) => {
    const { peer } = await spent(player);
    const error = await peer.refused(EVENT.start, { query: PLAIN });
    expect(error).toMatchObject({ code: 'rate_limited', retry_after_ms: expect.any(Number) });
    expect(error.retry_after_ms).toBeGreaterThan(0);
  });

  it('`rate_limited` are for all connections of a principal, also in the handshake', async ({
    player,
  }) => {
    const { url, auth } = await spent(player);
    const requests = [{ type: EVENT.start, query: PLAIN }];
    const peer = await connect({ url, auth: { ...auth, requests } });
    await peer.inbox.until(() => peer.inbox.opened.length === 1);
    const { reply } = peer.inbox.opened[0]!.message;
    expect(reply).toMatchObject({
      ok: false,
      error: { code: 'rate_limited', retry_after_ms: expect.any(Number) },
    });
  });

  it('`rate_limited` do not come for a start whose stream exists', async ({ player }) => {
    const { peer, id, units } = await spent(player);
    for (let i = 0; i < 5; i++) {
      const again = await peer.start({ query: PLAIN, stream_id: id });
      await peer.inbox.ended(again);
      expect(again.units).toEqual(units);
    }
  });

  it('`rate_limited` count resumes on their own', async ({ player }) => {
    const { peer, id, units, resumes } = await spent(player);
    const resume = { stream_id: id, offset: units.length };
    for (let i = 0; i < resumes; i++) await peer.resume(resume);
    expect(await peer.refused(EVENT.resume, resume)).toMatchObject({
      code: 'rate_limited',
      retry_after_ms: expect.any(Number),
    });
  });

  it('`rate_limited` of one principal are not another’s', async ({ player }) => {
    const { url } = await spent(player);
    const other = await connect({ url });
    const reading = await other.start({ query: PLAIN });
    expect(await other.inbox.ended(reading)).toMatchObject({ type: EVENT.end });
  });
});
