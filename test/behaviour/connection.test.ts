import { connect as connectTcp, createServer, type Socket } from 'node:net';
import { EVENT } from '@rivulet/protocol';
import type { Authenticate } from '@rivulet/server';
import { firstValueFrom } from 'rxjs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { backoffMs } from '../../packages/client/src/connection/backoff.js';
import { attachedServer } from '../harness/attached.js';
import { cuttableLink } from '../harness/link.js';
import { connect } from '../harness/plain-client.js';
import { startServer } from '../harness/rivulet.js';
import { connected, sdk, snapshotWhen, statusesOf } from '../harness/sdk.js';
import { stage } from '../harness/stage.js';

const ASK = { query: 'What is a delta?' };

/** Takes each token once, for as long as it is valid. */
function tokens(valid: (token: string) => boolean, livesMs = 3_600_000): Authenticate {
  return ({ token = '' }) =>
    valid(token) ? { principal: 'ada', expiresAt: new Date(Date.now() + livesMs) } : undefined;
}

describe('a token', () => {
  it('that is refused is asked for once more, and told so', async () => {
    const { provider, nextCall } = stage();
    const authenticate = tokens((token) => token === 'new');
    const { url } = await startServer(provider, { authenticate });
    const asked: boolean[] = [];
    const client = sdk(url, {
      auth({ refused }) {
        asked.push(refused);
        return refused ? 'new' : 'old';
      },
    });
    const { result } = client.start(ASK);
    const call = await nextCall();
    call.say('It ends.');
    call.finish();
    expect(await result).toMatchObject({ text: 'It ends.' });
    expect(asked).toEqual([false, true]);
  });

  it('that is refused twice fails what was asked; asking again asks for another token', async () => {
    const { provider, nextCall } = stage();
    let isValid = false;
    const { url } = await startServer(provider, { authenticate: tokens(() => isValid) });
    const client = sdk(url, { auth: () => 'a token' });
    await expect(client.start(ASK).result).rejects.toMatchObject({
      code: 'unauthorized',
      retryable: false,
    });
    expect(await firstValueFrom(client.connection$)).toMatchObject({
      status: 'refused',
      error: { code: 'unauthorized', retryable: false },
    });
    isValid = true;
    const { result } = client.start(ASK);
    const call = await nextCall();
    call.say('It ends.');
    call.finish();
    expect(await result).toMatchObject({ text: 'It ends.' });
  });

  it('that expires costs no text: the client goes on with a new one', async () => {
    const { provider, nextCall, calls } = stage();
    const authenticate = tokens(() => true, 300);
    const { url } = await startServer(provider, { authenticate });
    const auth = vi.fn<() => string>(() => 'a token');
    const answer = sdk(url, { auth }).start(ASK);
    const call = await nextCall();
    call.say('Where a ');
    await snapshotWhen(answer, ({ text }) => text === 'Where a ');
    await snapshotWhen(answer, ({ status }) => status === 'reconnecting');
    call.say('river ends.');
    await snapshotWhen(answer, ({ text }) => text === 'Where a river ends.');
    call.finish();
    expect(await answer.result).toMatchObject({ text: 'Where a river ends.' });
    expect(auth.mock.calls.length).toBeGreaterThan(1);
    expect(calls).toHaveLength(1);
  });

  it('that the user lacks fails at once, where there is no way to get one', async () => {
    const authenticate = vi.fn<Authenticate>(() => undefined);
    const { url } = await startServer(stage().provider, { authenticate });
    await expect(sdk(url).start(ASK).result).rejects.toMatchObject({ code: 'unauthorized' });
    expect(authenticate).toHaveBeenCalledTimes(1);
  });
});

describe('a connection', () => {
  it('that is dead without a word does not keep a server from closing', async () => {
    const server = await startServer(stage().provider);
    const dead = await deafLink(server.url);
    await connected(sdk(dead.url));
    dead.deafen();
    await expect(server.close()).resolves.toBeUndefined();
  }, 10_000);

  it('is tried again when the server says, where it was refused', async () => {
    const { provider, nextCall } = stage();
    const { url, io } = await attachedServer(provider);
    let tries = 0;
    const opensAt = performance.now() + 1_000;
    io.use((_, next) => {
      tries += 1;
      const waitMs = Math.ceil(opensAt - performance.now());
      if (waitMs <= 0) return next();
      const data = {
        code: 'overloaded',
        message: 'unable',
        retryable: true,
        retry_after_ms: waitMs,
      };
      next(Object.assign(new Error('unable'), { data }));
    });
    const answer = sdk(url).start(ASK);
    const call = await nextCall();
    call.say('It ends.');
    call.finish();
    expect(await answer.result).toMatchObject({ text: 'It ends.' });
    // Trying as after a cut it would have come three times at least.
    expect(tries).toBe(2);
  });

  it('that may not read again yet waits for as long as it is told, and goes on', async () => {
    const { provider, nextCall, calls } = stage();
    const server = await startServer(provider, {
      authenticate: () => ({ principal: 'ada' }),
      env: { RATE_LIMIT_REQUESTS: '1', RATE_LIMIT_WINDOW_SECONDS: '2' },
    });
    const link = await cuttableLink(server.url);
    const answer = sdk(link.url).start(ASK);
    const call = await nextCall();
    call.say('Where a ');
    await snapshotWhen(answer, ({ text }) => text !== '');
    const other = connect(server.url);
    const resume = { stream_id: answer.id, offset: 0 };
    for (let code = ''; code !== 'rate_limited';) {
      code = (await other.emitWithAck(EVENT.resume, resume)).error?.code;
    }
    link.cut();
    call.say('river ends.');
    call.finish();
    expect(await answer.result).toMatchObject({ text: 'Where a river ends.' });
    expect(calls).toHaveLength(1);
  });

  it('that is quiet is left alone for as long as it answers', async () => {
    const { provider, nextCall } = stage();
    const server = await startServer(provider);
    vi.useFakeTimers({ toFake: ['Date', 'setInterval', 'clearInterval'] });
    onTestFinished(() => void vi.useRealTimers());
    const client = sdk(server.url);
    const statuses = statusesOf(client);
    const answer = client.start(ASK);
    const call = await nextCall();
    const other = connect(server.url);
    for (let i = 0; i < 12; i++) {
      await vi.advanceTimersByTimeAsync(2_500);
      await other.emitWithAck(EVENT.list, {});
      await other.emitWithAck(EVENT.list, {});
    }
    call.say('It ends.');
    call.finish();
    await answer.result;
    expect(statuses).toEqual(['idle', 'connecting', 'connected']);
  });

  it('that is dead without a word is found and made again', async () => {
    const { provider, nextCall } = stage();
    const server = await startServer(provider);
    const dead = await deafLink(server.url);
    // The watchdog's clock alone is the test's.
    vi.useFakeTimers({ toFake: ['Date', 'setInterval', 'clearInterval'] });
    onTestFinished(() => void vi.useRealTimers());
    const answer = sdk(dead.url).start(ASK);
    const call = await nextCall();
    call.say('Where a ');
    await snapshotWhen(answer, ({ text }) => text !== '');
    dead.deafen();
    call.say('river ends.');
    await vi.advanceTimersByTimeAsync(25_000);
    await snapshotWhen(answer, ({ text }) => text === 'Where a river ends.');
    call.finish();
    expect(await answer.result).toMatchObject({ status: 'done' });
  });

  it('that a server takes and drops at once is tried ever more seldom', async () => {
    const { url, io } = await attachedServer(stage().provider);
    const at: number[] = [];
    const dropped = new Promise<void>((resolve) => {
      io.on('connection', (socket) => {
        socket.disconnect();
        if (at.push(performance.now()) === 5) resolve();
      });
    });
    sdk(url).active$.subscribe();
    await dropped;
    // The fourth wait is a second at least, the first a quarter of one at most.
    expect(at[4]! - at[3]!).toBeGreaterThan(at[1]! - at[0]!);
    expect(at[4]! - at[3]!).toBeGreaterThan(900);
  });

  it('is tried again ever more seldom, and not by all at one moment', () => {
    const earliest = [0, 1, 2, 3, 4, 5, 6, 7].map((failures) => backoffMs(failures, () => 0));
    expect(earliest).toEqual([125, 250, 500, 1000, 2000, 4000, 5000, 5000]);
    expect(backoffMs(20, () => 1)).toBe(10_000);
    expect(backoffMs(1, () => 0.5)).toBe(375);
  });
});

/** A TCP proxy whose connections can stop passing anything on, without an end. */
async function deafLink(target: string): Promise<{ url: string; deafen(): void }> {
  const open = new Set<Socket>();
  const server = createServer((near) => {
    const far = connectTcp(Number(new URL(target).port), '127.0.0.1');
    near.pipe(far).pipe(near);
    for (const socket of [near, far]) {
      open.add(socket);
      socket.on('error', () => {});
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    deafen() {
      for (const socket of open) {
        socket.unpipe();
        socket.pause();
      }
    },
  };
}
