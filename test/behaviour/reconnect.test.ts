import type { AnswerRequest, ConnectionState } from '@rivulet/client';
import { createServer } from 'node:http';
import type { LogFields } from '@rivulet/server';
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

/** The delays before the next attempts, without jitter: all others are 0, or 4 s and more. */
function retryDelays(): () => number[] {
  const random = vi.spyOn(Math, 'random').mockReturnValue(1);
  const timers = vi.spyOn(globalThis, 'setTimeout');
  onTestFinished(() => {
    random.mockRestore();
    timers.mockRestore();
  });
  return () => {
    const delays = timers.mock.calls.flatMap(([, ms = 0]) => (ms >= 100 && ms < 4_000 ? ms : []));
    return delays.slice(delays.indexOf(250));
  };
}

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
    await connected(sdk(link.url));
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

  it('that a server refuses at the handshake is tried ever more seldom from the first time on', async () => {
    const http = createServer((_, response) => response.writeHead(403).end());
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void http.close());
    const { port } = http.address() as { port: number };
    const delays = retryDelays();
    const client = sdk(`http://127.0.0.1:${port}`);
    client.active$.subscribe();
    await connectionWhen(client, (state) => 'attempts' in state && state.attempts === 3);
    expect(delays()).toEqual([250, 500, 1_000]);
  });

  it('is made again every 0.3 s at most for 5 s, then ever more seldom', async () => {
    const { server } = await staged();
    const link = await cuttableLink(server.url);
    const client = sdk(link.url);
    await connected(client);
    const delays = retryDelays();
    vi.useFakeTimers({ toFake: ['Date'] });
    onTestFinished(() => void vi.useRealTimers());
    link.down();
    await connectionWhen(client, (state) => 'attempts' in state && state.attempts === 4);
    vi.setSystemTime(Date.now() + 5_000);
    await connectionWhen(client, (state) => 'attempts' in state && state.attempts === 7);
    expect(delays()).toEqual([250, 280, 280, 280, 280, 500, 1_000, 2_000]);
  });

  it('shows in connection$ with the reason, as frozen objects', async () => {
    const { server } = await staged();
    const link = await cuttableLink(server.url);
    const client = sdk(link.url);
    const states: ConnectionState[] = [];
    client.connection$.subscribe((state) => states.push(state));
    await connected(client);
    link.down();
    await connectionWhen(client, (state) => 'attempts' in state && state.attempts === 2);
    const unreachable = { status: 'reconnecting', reason: 'unreachable', url: link.url };
    expect(states.slice(2)).toEqual([
      { status: 'connected' },
      { ...unreachable, attempts: 0 },
      { ...unreachable, attempts: 1 },
      { ...unreachable, attempts: 2 },
    ]);
    vi.stubGlobal('navigator', { onLine: false });
    onTestFinished(() => void vi.unstubAllGlobals());
    const offline = await connectionWhen(
      client,
      (state) => 'reason' in state && state.reason === 'offline',
    );
    expect(offline).toEqual({ status: 'reconnecting', reason: 'offline' });
    expect(states.every((state) => Object.isFrozen(state))).toBe(true);
  });

  it('is tried at once for a question that is asked meanwhile', async () => {
    const { server, nextCall } = await staged();
    const link = await cuttableLink(server.url);
    const client = sdk(link.url);
    await connected(client);
    link.down();
    // From here on no timer ends: the next attempt is the question's.
    vi.useFakeTimers({ toFake: ['setTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    await connectionWhen(client, ({ status }) => status === 'reconnecting');
    link.up();
    client.start(ASK);
    await expect(nextCall()).resolves.toBeDefined();
  });

  it('of 200 clients of one address comes back for all of them, and none is refused', async () => {
    const warnings: LogFields[] = [];
    const warn = (fields: LogFields): void => void warnings.push(fields);
    const logger = { debug() {}, info() {}, warn, error: warn };
    const { server } = await staged({ logger });
    const link = await cuttableLink(server.url);
    const clients = Array.from({ length: 200 }, () => sdk(link.url));
    await Promise.all(clients.map((client) => connected(client)));
    const statuses = clients.map((client) => statusesOf(client));
    link.down();
    await Promise.all(
      clients.map((client) =>
        connectionWhen(client, (state) => 'attempts' in state && state.attempts === 3),
      ),
    );
    link.up();
    await Promise.all(
      clients.map((client) => connectionWhen(client, ({ status }) => status === 'connected')),
    );
    expect(new Set(statuses.flat())).toEqual(new Set(['connected', 'reconnecting']));
    expect(warnings).toEqual([]);
  });
});
