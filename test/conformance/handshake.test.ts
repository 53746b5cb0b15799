import { EVENT, LIMITS } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { answered, PLAIN } from './suite/answer.js';
import { it } from './suite/it.js';
import { connect, newId, refusedConnection } from './suite/peer.js';
import type { Player } from './suite/player.js';

const START = { type: EVENT.start, query: PLAIN };

describe('Handshake', () => {
  it('makes connections with one `browser_id` one principal', async () => {
    const { auth, id } = await answered();
    const reading = await (await connect({ auth })).resume({ stream_id: id, offset: 0 });
    expect(reading.reply.status).toBe('ended');
  });

  it.for<[string, unknown]>([
    ['no', undefined],
    ['a short', 'x'.repeat(LIMITS.browserIdUnitsMin - 1)],
    ['a long', 'x'.repeat(LIMITS.idUnits + 1)],
  ])('with %s `browser_id` makes a principal for this connection', async ([, browserId]) => {
    const auth = browserId === undefined ? {} : { browser_id: browserId };
    const [one, two] = [await connect({ auth }), await connect({ auth })];
    const reading = await one.start({ query: PLAIN });
    const refused = await two.refused(EVENT.resume, { stream_id: reading.id, offset: 0 });
    expect(refused.code).toBe('not_found');
    expect(await one.inbox.ended(reading)).toMatchObject({ type: EVENT.end });
  });

  it('without `browser_id` has the streams end with the connection', async ({ player }) => {
    const [gate, stopped] = [player.gate(), player.gate()];
    const query = player.script({ text: 'x' }, { hold: gate, given_up: stopped });
    const peer = await connect({ auth: {} });
    const reading = await peer.start({ query });
    await peer.inbox.until(() => reading.text === 'x');
    peer.leave();
    await player.opened(stopped);
  });

  it('asks in `requests`', async () => {
    const id = newId();
    const requests = [{ ...START, stream_id: id, session_id: 's', window: 65_536 }];
    const peer = await connect({ auth: { browser_id: newId(), requests } });
    await peer.inbox.until(() => peer.inbox.opened.length === 1);
    const reading = peer.inbox.opened[0]!.reading!;
    peer.keepUp(reading);
    expect(await peer.inbox.ended(reading)).toMatchObject({ type: EVENT.end, stream_id: id });
  });

  it('reads on in `requests`, where a window holds as ever', async () => {
    const { auth, id, units } = await answered();
    const offset = Math.floor(units.length / 2);
    const requests = [{ type: EVENT.resume, stream_id: id, offset, window: 8 }];
    const peer = await connect({ auth: { ...auth, requests } });
    await peer.inbox.until(() => peer.inbox.opened.length === 1);
    const reading = peer.inbox.opened[0]!.reading!;
    expect(reading.reply.status).toBe('ended');
    peer.keepUp(reading);
    await peer.inbox.ended(reading);
    expect(reading.units).toEqual(units.slice(offset));
  });

  it('carries `requests` out in order, before what comes after it', async () => {
    const { auth, id, query } = await answered();
    const resume = { type: EVENT.resume, stream_id: id };
    const requests = [
      { ...resume, offset: 0 },
      { ...resume, offset: 1_000_000_000 },
      { type: EVENT.start, stream_id: id, query },
      { ...resume, offset: 2 },
    ];
    const peer = await connect({ auth: { ...auth, requests } });
    await peer.caughtUp();
    const replies = peer.inbox.opened.map(({ message }) => message.reply);
    expect(replies.map((reply) => (reply.ok ? reply.status : reply.error.code))).toEqual([
      'ended',
      'bad_request',
      'ended',
      'ended',
    ]);
  });

  it('takes as many requests in `requests` as it may have, and refuses more', async () => {
    const { auth, id, units } = await answered();
    const resume = { type: EVENT.resume, stream_id: id, offset: units.length };
    const requests = Array.from({ length: LIMITS.handshakeRequests }, () => resume);
    const peer = await connect({ auth: { ...auth, requests } });
    await peer.caughtUp();
    expect(peer.inbox.opened).toHaveLength(LIMITS.handshakeRequests);
    const refused = await refusedConnection({ auth: { ...auth, requests: [...requests, resume] } });
    expect(refused.code).toBe('bad_request');
  });

  it('of the wrong shape is refused', async () => {
    for (const wrong of [
      { requests: {} },
      { token: 7 },
      { token: 'x'.repeat(LIMITS.tokenUnits + 1) },
    ]) {
      const refused = await refusedConnection({ auth: { browser_id: newId(), ...wrong } });
      expect(refused.code).toBe('bad_request');
    }
  });

  it('ignores a field that it does not know', async () => {
    const peer = await connect({ auth: { browser_id: newId(), of_a_newer_client: { x: 1 } } });
    expect(await peer.list()).toEqual([]);
  });
});

describe('Handshake with a server that asks for a token', () => {
  async function withTokens(player: Player) {
    const { url, tokens, short_token: short } = await player.serve('token');
    return { url, mine: tokens![0], other: tokens![1], short: short! };
  }

  it('without one, or with a wrong one, is `unauthorized`', async ({ player }) => {
    const { url } = await withTokens(player);
    for (const auth of [{}, { token: 'wrong' }, { browser_id: newId() }]) {
      expect((await refusedConnection({ url, auth })).code).toBe('unauthorized');
    }
  });

  it('is known by the token alone', async ({ player }) => {
    const { url, mine, other } = await withTokens(player);
    const [one, two] = [newId(), newId()];
    const asked = await connect({ url, auth: { token: mine, browser_id: one } });
    const reading = await asked.start({ query: PLAIN });
    await asked.inbox.ended(reading);
    const elsewhere = await connect({ url, auth: { token: mine, browser_id: two } });
    const again = await elsewhere.resume({ stream_id: reading.id, offset: 0 });
    await elsewhere.inbox.ended(again);
    expect(again.units).toEqual(reading.units);
    const stranger = await connect({ url, auth: { token: other, browser_id: one } });
    const refused = await stranger.refused(EVENT.resume, { stream_id: reading.id, offset: 0 });
    expect(refused.code).toBe('not_found');
  });

  it('has the connection end when the token expires', async ({ player }) => {
    const { url, short, mine } = await withTokens(player);
    const peer = await connect({ url, auth: { token: short } });
    const gate = player.gate();
    const query = player.script({ text: 'x' }, { hold: gate }, { finish: 'stop' });
    const reading = await peer.start({ query });
    await peer.inbox.until(() => peer.inbox.disconnected);
    expect((await refusedConnection({ url, auth: { token: short } })).code).toBe('unauthorized');
    // With a new one of the same user the stream goes on.
    const requests = [{ type: EVENT.resume, stream_id: reading.id, offset: reading.next }];
    const back = await connect({ url, auth: { token: mine, requests } });
    await player.open(gate);
    await back.inbox.until(() => back.inbox.opened.length === 1);
    const rest = back.inbox.opened[0]!.reading!;
    expect(await back.inbox.ended(rest)).toMatchObject({ type: EVENT.end });
  });
});
