import { EVENT, StreamError } from '@rivulet/protocol';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createDeliveryMetrics } from '../../packages/server/src/observe/delivery-metrics.js';
import { OriginError } from '../../packages/server/src/socket/origin.js';
import { Refusals } from '../../packages/server/src/socket/refusals.js';
import { recorded } from '../harness/log.js';
import { testMeter } from '../harness/meter.js';
import { connect, next } from '../harness/plain-client.js';
import { openPolling, openWebSocket } from '../harness/raw-client.js';
import { refused } from '../harness/refused.js';
import { startServer } from '../harness/rivulet.js';
import { stage } from '../harness/stage.js';

const LIMITED = () => new StreamError('rate_limited', 'unable to: too many');

describe('refusals', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  function created() {
    const log = recorded();
    const meter = testMeter();
    const { refused: counter } = createDeliveryMetrics(meter.provider);
    const refusals = new Refusals(counter, {}, log.logger);
    const lines = () => log.events.map(({ event, reason, count }) => [event, reason, count]);
    const counted = async () =>
      (await meter.read())['llm_stream_refused']?.map((p) => [p.attributes['reason'], p.value]);
    return { refusals, lines, counted, log };
  }

  it('are one line at once and then one in 10 s for each reason, with their number', async () => {
    const { refusals, lines, counted } = created();
    for (let i = 0; i < 1_000; i++) refusals.refuse(LIMITED(), 'c-1');
    refusals.refuse(new StreamError('overloaded', 'unable to: full'), 'c-1');
    expect(lines()).toEqual([
      ['REQUEST_REFUSED', 'rate_limited', 1],
      ['REQUEST_REFUSED', 'overloaded', 1],
    ]);
    vi.advanceTimersByTime(9_999);
    expect(lines()).toHaveLength(2);
    vi.advanceTimersByTime(1);
    expect(lines().slice(2)).toEqual([['REQUEST_REFUSED', 'rate_limited', 999]]);
    refusals.refuse(LIMITED(), 'c-1');
    expect(lines()).toHaveLength(3);
    vi.advanceTimersByTime(10_000);
    expect(lines().slice(3)).toEqual([['REQUEST_REFUSED', 'rate_limited', 1]]);
    // After a time without any, the next one has its line at once again.
    vi.advanceTimersByTime(10_000);
    refusals.refuse(LIMITED(), 'c-1');
    expect(lines()).toHaveLength(5);
    expect(await counted()).toEqual([
      ['rate_limited', 1_002],
      ['overloaded', 1],
    ]);
  });

  it('that have no line yet have one when the server is closed', () => {
    const { refusals, lines } = created();
    for (let i = 0; i < 3; i++) refusals.refuse(LIMITED(), undefined);
    refusals.close();
    expect(lines().at(-1)).toEqual(['REQUEST_REFUSED', 'rate_limited', 2]);
    vi.advanceTimersByTime(60_000);
    expect(lines()).toHaveLength(2);
  });

  it('count once, also where they are noticed twice', async () => {
    const { refusals, counted, lines } = created();
    const error = LIMITED();
    refusals.count(error, 'c-1');
    refusals.refuse(error, 'c-1');
    expect(await counted()).toEqual([['rate_limited', 1]]);
    expect(lines()).toHaveLength(1);
  });

  it('are logged with the newest origin, connection or fault', () => {
    const { refusals, log } = created();
    for (const origin of ['https://a.example', 'https://b.example', 'https://c.example']) {
      refusals.count(new OriginError({ reason: 'not_allowed', origin }), undefined);
    }
    const fault = new TypeError('a secret');
    for (const id of ['c-1', 'c-2']) refusals.countFailedCheck(LIMITED(), fault, id);
    vi.advanceTimersByTime(10_000);
    expect(log.events.slice(-2)).toMatchObject([
      { event: 'ORIGIN_REFUSED', origin: 'https://c.example', count: 2 },
      { event: 'AUTHENTICATE_FAILED', connectionId: 'c-2', count: 1 },
    ]);
  });
});

describe('a server', () => {
  async function started(options: Parameters<typeof startServer>[1] = {}) {
    const log = recorded();
    const meter = testMeter();
    const { provider, nextCall } = stage();
    const server = await startServer(provider, {
      logger: log.logger,
      meterProvider: meter.provider,
      ...options,
    });
    return {
      ...server,
      nextCall,
      isDraining: async () => (await meter.read())['llm_stream_draining']?.[0]?.value,
      counted: async () => {
        const points = (await meter.read())['llm_stream_refused'] ?? [];
        return Object.fromEntries(points.map((p) => [p.attributes['reason'], p.value]));
      },
      addresses: () => log.events.map(({ address }) => address),
      lines: () => log.events.map(({ event, reason }) => [event, reason]),
    };
  }

  it('counts and logs a request past the rate limit', async () => {
    const { url, counted, lines, addresses } = await started({
      rateLimit: { requests: 1, windowSeconds: 60 },
    });
    const socket = connect(url);
    await socket.emitWithAck(EVENT.start, { query: 'q' });
    for (const query of ['r', 's', 't']) {
      const { error } = await socket.emitWithAck(EVENT.start, { query });
      expect(error.code).toBe('rate_limited');
    }
    expect(await counted()).toEqual({ rate_limited: 3 });
    expect(lines()).toEqual([['REQUEST_REFUSED', 'rate_limited']]);
    expect(addresses()).toEqual(['127.0.0.1']);
  });

  it('counts and logs what it refuses while it drains by a reason of its own', async () => {
    const server = await started();
    const { url, nextCall, counted, lines, addresses } = server;
    const socket = connect(url);
    await socket.emitWithAck(EVENT.start, { query: 'q' });
    const call = await nextCall();
    expect(await server.isDraining()).toBe(0);
    const drained = server.drain();
    expect(await server.isDraining()).toBe(1);
    const { error } = await socket.emitWithAck(EVENT.start, { query: 'r' });
    expect(error).toMatchObject({ code: 'overloaded', retry_after_ms: 1_000 });
    expect(await refused(connect(url))).toMatchObject({ code: 'overloaded' });
    expect(await counted()).toEqual({ draining: 2 });
    expect(lines()).toEqual([['REQUEST_REFUSED', 'draining']]);
    expect(addresses()).toEqual([undefined]);
    call.finish();
    await drained;
  });

  it('counts and logs a connection past a limit, and one that is closed for what it sends', async () => {
    const limits = { maxConnectionsPerAddress: 1, maxMessagesPerSecond: 4 };
    const { url, counted, lines } = await started({ limits });
    const first = await openWebSocket(url);
    first.write('40{}');
    await first.hears(/^40/);
    expect(await refused(connect(url))).toMatchObject({ code: 'overloaded' });
    for (let i = 0; i < 100; i++) first.write('42["stream_ack",{}]');
    await first.closed;
    expect(await counted()).toMatchObject({ overloaded: 1, rate_limited: 1 });
    expect(lines()).toEqual(
      expect.arrayContaining([
        ['REQUEST_REFUSED', 'overloaded'],
        ['REQUEST_REFUSED', 'rate_limited'],
      ]),
    );
  });

  it('counts and logs handshakes for which there is no room', async () => {
    const { url, counted, lines } = await started({ limits: { maxHandshakesPerAddress: 1 } });
    const attempts = Array.from({ length: 20 }, () => openPolling(url).catch(() => 'refused'));
    const refusals = (await Promise.all(attempts)).filter((result) => result === 'refused');
    expect(refusals.length).toBeGreaterThan(0);
    expect(await counted()).toEqual({ overloaded: refusals.length });
    expect(lines()).toEqual([['CONNECTION_REFUSED', 'handshakes']]);
  });

  it('counts and logs a refused token apart from a refused origin', async () => {
    const { url, counted, lines } = await started({ authenticate: () => undefined });
    await refused(connect(url, { token: 'wrong' }));
    await fetch(`${url}/socket.io/?EIO=4&transport=polling&j=0`);
    expect(await counted()).toEqual({ unauthorized: 1, origin: 1 });
    expect(lines()).toEqual([
      ['REQUEST_REFUSED', 'unauthorized'],
      ['ORIGIN_REFUSED', 'jsonp'],
    ]);
  });

  it('counts what a client asks for in vain, and does not warn of it', async () => {
    const { url, counted, lines } = await started();
    const socket = connect(url);
    await socket.emitWithAck(EVENT.resume, { stream_id: 'unknown', offset: 0 });
    expect(await counted()).toEqual({ not_found: 1 });
    expect(lines()).toEqual([['REQUEST_REFUSED', 'not_found']]);
  });
});

describe('the metrics of the delivery', () => {
  it('show connections, readers, bytes of logs and the delay of the event loop', async () => {
    const meter = testMeter();
    const { provider, nextCall } = stage();
    const server = await startServer(provider, { meterProvider: meter.provider });
    const read = async () => {
      const points = await meter.read();
      const value = (name: string) => points[name]?.[0]?.value;
      const [connections, readers, logBytes] = ['connections', 'readers', 'log_bytes'].map((name) =>
        value(`llm_stream_${name}`),
      );
      return { connections, readers, logBytes, delay: value('nodejs.eventloop.delay.max') };
    };
    expect(await read()).toEqual({ connections: 0, readers: 0, logBytes: 0, delay: undefined });
    const me = { browser_id: 'the-browser-of-the-first-visitor' };
    const [one, two] = [connect(server.url, me), connect(server.url, me)];
    await one.emitWithAck(EVENT.start, { query: 'q', stream_id: 's' });
    await two.emitWithAck(EVENT.resume, { stream_id: 's', offset: 0 });
    const call = await nextCall();
    const said = next(two, EVENT.chunk);
    call.say('x'.repeat(10_000));
    await said;
    await vi.waitFor(async () => {
      // The measuring timer fires before and after the block: a reading in between would lose the delay.
      await new Promise((resolve) => setTimeout(resolve, 50));
      const blockedUntil = performance.now() + 150;
      while (performance.now() < blockedUntil);
      await new Promise((resolve) => setTimeout(resolve));
      const { delay, ...sizes } = await read();
      expect(sizes).toMatchObject({ connections: 2, readers: 2 });
      expect(sizes.logBytes).toBeGreaterThan(10_000);
      // The delay of a reading is that since the reading before.
      expect(delay).toBeGreaterThan(0.05);
    });
    two.disconnect();
    await vi.waitFor(async () =>
      expect(await read()).toMatchObject({ connections: 1, readers: 1 }),
    );
  });
});
