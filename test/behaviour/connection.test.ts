import { connect as connectTcp, createServer, type Socket } from 'node:net';
import { EVENT } from '@rivulet/protocol';
import { createClient } from '@rivulet/client';
import type { Authenticate } from '@rivulet/server';
import { firstValueFrom } from 'rxjs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { createBackoff } from '../../packages/client/src/connection/backoff.js';
import { attachedServer } from '../harness/attached.js';
import { cuttableLink } from '../harness/link.js';
import { connect } from '../harness/plain-client.js';
import { startServer } from '../harness/rivulet.js';
import { connected, connectionWhen, sdk, snapshotWhen, statusesOf } from '../harness/sdk.js';
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

  it.each([undefined, null, ''])('is none where `auth` returns %j', async (none) => {
    const authenticate = vi.fn<Authenticate>(() => ({ principal: 'guest' }));
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider, { authenticate });
    const { result } = sdk(url, { auth: () => none }).start(ASK);
    const call = await nextCall();
    call.say('Hello');
    call.finish();
    expect(await result).toMatchObject({ text: 'Hello' });
    expect(authenticate.mock.calls[0]![0]).toMatchObject({ token: undefined });
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
    let opensAt: number | undefined;
    io.use((_, next) => {
      tries += 1;
      opensAt ??= performance.now() + 1_000;
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
    const client = sdk(url);
    const answer = client.start(ASK);
    await snapshotWhen(answer, ({ status }) => status === 'reconnecting');
    // Another question does not cut it short.
    const other = client.start({ query: 'Another' });
    for (let i = 0; i < 2; i++) {
      const call = await nextCall();
      call.say('It ends.');
      call.finish();
    }
    expect(await answer.result).toMatchObject({ text: 'It ends.' });
    await other.result;
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
    await vi.advanceTimersByTimeAsync(11_000);
    await snapshotWhen(answer, ({ text }) => text === 'Where a river ends.');
    call.finish();
    expect(await answer.result).toMatchObject({ status: 'done' });
  });

  it('that carries a long question slowly is not taken for dead', async () => {
    const { provider, nextCall } = stage();
    const server = await startServer(provider);
    const link = await deafLink(server.url);
    const client = sdk(link.url);
    // It is connected, and waits for nothing.
    await firstValueFrom(client.active$);
    vi.useFakeTimers({ toFake: ['Date', 'setInterval', 'clearInterval'] });
    onTestFinished(() => void vi.useRealTimers());
    const statuses = statusesOf(client);
    link.deafen();
    const content = 'x'.repeat(120_000);
    const answer = client.start({ ...ASK, context: [{ role: 'user', content }] });
    // The question is on its way when the watchdog has begun.
    while (vi.getTimerCount() === 0) await nextTurn();
    // At 1 KB/s it takes 120 s.
    await vi.advanceTimersByTimeAsync(120_000);
    link.hear();
    const call = await nextCall();
    call.say('It ends.');
    call.finish();
    expect(await answer.result).toMatchObject({ text: 'It ends.' });
    expect(statuses).toEqual(['connected']);
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
    // The fourth wait is a second at least.
    expect(at[4]! - at[3]!).toBeGreaterThan(900);
  });

  it('is tried again ever more seldom, and not by all at one moment', () => {
    onTestFinished(() => void vi.restoreAllMocks());
    const delaysMs = (random: number): number[] => {
      vi.spyOn(Math, 'random').mockReturnValue(random);
      const backoff = createBackoff();
      return Array.from({ length: 8 }, () => backoff.nextDelayMs(undefined, true));
    };
    expect(delaysMs(0)).toEqual([125, 250, 500, 1000, 2000, 4000, 5000, 5000]);
    expect(delaysMs(0.5)).toEqual([187.5, 375, 750, 1500, 3000, 6000, 7500, 7500]);
    expect(delaysMs(1).at(-1)).toBe(10_000);
  });
});

describe('idleCloseMs', () => {
  const fakeTimers = () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
  };

  it('closes a connection that nothing needs, and a question opens it again', async () => {
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider);
    const client = sdk(url, { idleCloseMs: 1_000 });
    const statuses = statusesOf(client);
    fakeTimers();
    for (let i = 0; i < 2; i++) {
      const { result } = client.start({ query: `Question ${i}` });
      const call = await nextCall();
      vi.advanceTimersByTime(10_000);
      call.finish();
      await result.catch(() => {});
      vi.advanceTimersByTime(999);
      expect(statuses.at(-1)).toBe('connected');
      vi.advanceTimersByTime(1);
      expect(statuses.at(-1)).toBe('idle');
    }
    const once = ['connecting', 'connected', 'idle'];
    expect(statuses).toEqual(['idle', ...once, ...once]);
  });

  it('keeps it open for a reader of active$, until that leaves', async () => {
    const { url } = await startServer(stage().provider);
    const client = sdk(url, { idleCloseMs: 1_000 });
    const statuses = statusesOf(client);
    fakeTimers();
    const subscription = client.active$.subscribe();
    await connectionWhen(client, ({ status }) => status === 'connected');
    vi.advanceTimersByTime(10_000);
    expect(statuses.at(-1)).toBe('connected');
    subscription.unsubscribe();
    vi.advanceTimersByTime(1_000);
    expect(statuses.at(-1)).toBe('idle');
  });

  it('lets a connection that breaks while nothing needs it stay closed', async () => {
    const { url } = await startServer(stage().provider);
    const link = await cuttableLink(url);
    const client = sdk(link.url, { idleCloseMs: 1_000 });
    const statuses = statusesOf(client);
    const subscription = client.active$.subscribe();
    await connectionWhen(client, ({ status }) => status === 'connected');
    subscription.unsubscribe();
    link.cut();
    await vi.waitFor(() => expect(statuses.at(-1)).toBe('idle'));
    expect(statuses).toEqual(['idle', 'connecting', 'connected', 'idle']);
  });
});

describe('the options of a connection', () => {
  it("path says where a Socket.IO server of the user's own serves", async () => {
    const { provider, nextCall } = stage();
    const { url } = await attachedServer(
      provider,
      { namespace: '/answers' },
      { path: '/api/socket.io' },
    );
    const { result } = sdk(`${url}/answers`, { path: '/api/socket.io' }).start(ASK);
    const call = await nextCall();
    call.say('It ends.');
    call.finish();
    expect(await result).toMatchObject({ text: 'It ends.' });
  });

  it('browserId is who the client is, and may come late', async () => {
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider);
    const browserId = vi.fn<() => Promise<string>>(() =>
      Promise.resolve('the-secret-of-one-device'),
    );
    const asked = sdk(url, { browserId }).start(ASK);
    const call = await nextCall();
    call.say('It ends.');
    const again = sdk(url, { browserId: 'the-secret-of-one-device' }).resume(asked.id);
    await snapshotWhen(again, ({ text }) => text === 'It ends.');
    const other = sdk(url, { browserId: 'the-secret-of-another' }).resume(asked.id);
    await expect(other.result).rejects.toMatchObject({ code: 'not_found' });
    expect(browserId).toHaveBeenCalledTimes(1);
  });

  it('browserId that cannot be had yet is asked for again', async () => {
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider);
    const browserId = vi
      .fn<() => Promise<string>>()
      .mockRejectedValueOnce(new Error('locked'))
      .mockResolvedValue('the-secret-of-one-device');
    sdk(url, { browserId }).start(ASK);
    await nextCall();
    expect(browserId).toHaveBeenCalledTimes(2);
  });

  it('url must be given where no page was loaded by HTTP', async () => {
    const client = createClient();
    onTestFinished(() => client.close());
    await expect(client.start(ASK).result).rejects.toMatchObject({
      code: 'bad_request',
      message: expect.stringContaining('url'),
    });
    const state = await firstValueFrom(client.connection$);
    expect(state).toMatchObject({ status: 'refused', error: { code: 'bad_request' } });
  });
});

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

/** A TCP proxy whose connections can stop passing anything on, without an end, until they do again. */
async function deafLink(target: string): Promise<{ url: string; deafen(): void; hear(): void }> {
  const open = new Map<Socket, Socket>();
  const server = createServer((near) => {
    const far = connectTcp(Number(new URL(target).port), '127.0.0.1');
    near.pipe(far).pipe(near);
    open.set(near, far).set(far, near);
    for (const socket of [near, far]) {
      socket.on('error', () => {});
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of open.keys()) socket.destroy();
    server.close();
  });
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    deafen() {
      for (const socket of open.keys()) {
        socket.unpipe();
        socket.pause();
      }
    },
    hear() {
      for (const [socket, other] of open) socket.pipe(other);
    },
  };
}
