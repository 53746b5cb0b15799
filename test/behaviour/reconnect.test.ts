import { type AnswerRequest } from '@rivulet/client';
import { Server } from 'socket.io';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { cuttableLink } from '../harness/link.js';
import {
  connected,
  connectionWhen,
  sdk,
  snapshotWhen,
  staged,
  statusesOf,
} from '../harness/sdk.js';

const ASK: AnswerRequest = { query: 'What is a delta?' };

describe('a broken connection', () => {
  it('costs no text and doubles none, however often it breaks', async () => {
    const { server, calls, nextCall } = await staged();
    const link = await cuttableLink(server.url);
    const answer = sdk(link.url).start(ASK);
    const statuses: string[] = [];
    answer.state$.subscribe(({ status }) => statuses.push(status));
    const call = await nextCall();
    let whole = '';
    for (let i = 0; i < 5; i++) {
      whole += `piece ${i}, `;
      call.say(`piece ${i}, `);
      await snapshotWhen(answer, (s) => s.text.length > 0 && s.status === 'streaming');
      link.cut();
      call.say(`unheard ${i}; `);
      whole += `unheard ${i}; `;
      await snapshotWhen(answer, (s) => s.text === whole);
    }
    call.finish();
    expect(await answer.result).toMatchObject({ status: 'done', text: whole });
    expect(statuses).toContain('reconnecting');
    expect(calls).toHaveLength(1);
  });

  it('lets the question be asked once the server can be reached', async () => {
    const { server, calls, nextCall } = await staged();
    const link = await cuttableLink(server.url);
    link.down();
    const client = sdk(link.url);
    const answer = client.start(ASK);
    await snapshotWhen(answer, (s) => s.status === 'reconnecting');
    expect(calls).toHaveLength(0);
    link.up();
    const call = await nextCall();
    call.say('It ends.');
    call.finish();
    expect(await answer.result).toMatchObject({ text: 'It ends.' });
  });

  it('does not save the model from a reader that leaves meanwhile', async () => {
    const { server, nextCall } = await staged({ limits: { detachTimeoutMs: 0 } });
    const link = await cuttableLink(server.url);
    const client = sdk(link.url);
    const subscription = client.stream(ASK).subscribe();
    const call = await nextCall();
    link.down();
    await connectionWhen(client, ({ status }) => status === 'reconnecting');
    subscription.unsubscribe();
    link.up();
    await expect(call.aborted).resolves.toBeUndefined();
  });

  it('does not save the model from a stop: it is told at the next connect', async () => {
    const { server, nextCall } = await staged();
    const link = await cuttableLink(server.url);
    const answer = sdk(link.url).start(ASK);
    const call = await nextCall();
    link.down();
    await snapshotWhen(answer, (s) => s.status === 'reconnecting');
    answer.cancel();
    expect(answer.getSnapshot().status).toBe('cancelled');
    link.up();
    await call.aborted;
  });

  it('to a server that restarted ends what was shown as `interrupted`, with its text', async () => {
    const { server, nextCall } = await staged();
    const next = await staged();
    const link = await cuttableLink(server.url);
    const answer = sdk(link.url).start(ASK);
    (await nextCall()).say('Where a');
    await snapshotWhen(answer, (s) => s.text !== '');
    link.leadTo(next.server.url);
    link.cut();
    const failed = await snapshotWhen(answer, (s) => s.status === 'failed');
    expect(failed).toMatchObject({
      text: 'Where a',
      error: { code: 'interrupted', retryable: true },
    });
  });

  it('to a server that restarted asks again where nothing was shown yet', async () => {
    const { server, nextCall } = await staged();
    const next = await staged();
    const link = await cuttableLink(server.url);
    const client = sdk(link.url);
    const answer = client.start(ASK);
    await nextCall();
    // Once this one has text, the reply to the first start is here, too.
    const other = client.start({ query: 'Another' });
    (await nextCall()).say('x');
    await snapshotWhen(other, (s) => s.text !== '');
    link.leadTo(next.server.url);
    link.cut();
    const call = await next.nextCall();
    call.say('It ends.');
    call.finish();
    expect(await answer.result).toMatchObject({ text: 'It ends.' });
  });

  it('is made again when it was the server that ended it', async () => {
    const io = new Server(0);
    onTestFinished(() => io.close());
    io.once('connection', (socket) => socket.disconnect());
    const { port } = io.httpServer.address() as { port: number };
    const client = sdk(`http://127.0.0.1:${port}`);
    const seen = statusesOf(client);
    client.active$.subscribe();
    await vi.waitFor(() =>
      expect(seen).toEqual(['idle', 'connecting', 'connected', 'reconnecting', 'connected']),
    );
  });

  it('shows in connection$, which does not connect by itself', async () => {
    const { server } = await staged();
    const link = await cuttableLink(server.url);
    const client = sdk(link.url);
    const seen = statusesOf(client);
    expect(seen).toEqual(['idle']);
    await connected(client);
    expect(seen).toEqual(['idle', 'connecting', 'connected']);
    link.cut();
    await vi.waitFor(() =>
      expect(seen).toEqual(['idle', 'connecting', 'connected', 'reconnecting', 'connected']),
    );
    client.close();
    expect(seen.at(-1)).toBe('closed');
  });
});
