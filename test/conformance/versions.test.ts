import { PROTOCOL_VERSION } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
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
});
