import { EVENT, PROTOCOL_VERSION } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { PLAIN } from './suite/answer.js';
import { it } from './suite/it.js';
import { connect, newId, refusedConnection } from './suite/peer.js';

describe('Versions', () => {
  it.for([undefined, PROTOCOL_VERSION.oldest, PROTOCOL_VERSION.newest])(
    '%s in the handshake is served as it is',
    async (protocol) => {
      const auth = { browser_id: newId(), ...(protocol !== undefined && { protocol }) };
      const peer = await connect({ auth });
      expect(await peer.list()).toEqual([]);
      expect(peer.inbox.hello).toBeUndefined();
    },
  );

  it('that the server no longer speaks are refused, with what to do', async () => {
    const auth = { browser_id: newId(), protocol: PROTOCOL_VERSION.oldest - 1 };
    const error = await refusedConnection({ auth });
    expect(error).toMatchObject({ code: 'unsupported_version', retryable: false });
    expect(error.message).toContain('reload the page');
  });

  it('that are no versions are refused', async () => {
    for (const protocol of ['1', 1.5, -1, {}]) {
      const error = await refusedConnection({ auth: { browser_id: newId(), protocol } });
      expect(error.code).toBe('bad_request');
    }
  });
});

describe('ServerHelloMessage', () => {
  it('tells a newer client which version the server speaks', async () => {
    const peer = await connect({ auth: { browser_id: newId(), protocol: 1_000 } });
    await peer.caughtUp();
    expect(peer.inbox.hello).toEqual({ type: 'server_hello', protocol: PROTOCOL_VERSION.newest });
  });

  it('comes before what a newer client asked in `requests`, which means what it always meant', async () => {
    const id = newId();
    const start = { type: EVENT.start, query: PLAIN, stream_id: id, session_id: 's' };
    const requests = [{ ...start, window: 65_536, field_of_the_future: true }];
    const peer = await connect({ auth: { browser_id: newId(), protocol: 1_000, requests } });
    await peer.inbox.until(() => peer.inbox.opened.length === 1);
    expect(peer.inbox.hello?.protocol).toBe(PROTOCOL_VERSION.newest);
    const reading = peer.inbox.opened[0]!.reading!;
    peer.keepUp(reading);
    expect(await peer.inbox.ended(reading)).toMatchObject({ type: EVENT.end, stream_id: id });
  });
});
