import { EVENT } from '@rivulet/protocol';
import { expect, it, vi } from 'vitest';
import { type Reply, scriptedServer } from '../harness/scripted-server.js';
import { sdk } from '../harness/sdk.js';

it.each([EVENT.cancel, EVENT.detach])(
  'a %s that the server cannot carry out yet is sent again',
  async (event) => {
    const sent: unknown[] = [];
    const { url, connection } = await scriptedServer();
    const answer = sdk(url).start({ query: 'q' });
    (await connection).on(event, (message: object, reply: Reply) => {
      sent.push(message);
      const error = { code: 'overloaded', message: 'm', retryable: true, retry_after_ms: 20 };
      reply(sent.length < 3 ? { ok: false, error } : { ok: true });
    });
    if (event === EVENT.cancel) answer.cancel();
    else answer.release();
    await vi.waitFor(() => expect(sent).toHaveLength(3));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(sent).toHaveLength(3);
  },
);
