import { EVENT } from '@rivulet/protocol';
import { createLogger } from '@rivulet/server';
import fc from 'fast-check';
import { createClient } from 'redis';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { SharedState } from '../../packages/server/src/redis/shared-state.js';
import { createQueue, type Queue, type Slot } from '../../packages/server/src/upstream/queue.js';
import { counted, startNode } from '../harness/cluster/cluster.js';
import { cluster } from '../harness/cluster/servers.js';
import { connect } from '../harness/plain-client.js';
import { startRedis, type TestRedis } from '../harness/redis.js';
import { sdk, snapshotWhen } from '../harness/sdk.js';

const ME = { browserId: 'the-browser-of-the-first-visitor' };
const OTHER = { browserId: 'the-browser-of-somebody-else-entirely' };

const tickets = async (redis: TestRedis, pool = 'stage'): Promise<number> => {
  const fields = (await redis.command('HKEYS', `rivulet:v1{rv}:sl:${pool}`)) as string[];
  return fields.filter((field) => field.startsWith('=')).length;
};

describe('the slots of a provider', () => {
  it('are one number for all processes, and a request is told its place among those of all', async () => {
    const { redis, a, b } = await cluster({ concurrency: 1 });
    const first = sdk(a.url, ME).start({ query: 'first' });
    const call = await a.nextCall();
    const second = sdk(b.url, ME).start({ query: 'second' });
    await snapshotWhen(second, ({ ahead }) => ahead === 1);
    const third = sdk(a.url, ME).start({ query: 'third' });
    await snapshotWhen(third, ({ ahead }) => ahead === 2);
    // Somebody else's turn comes before the next of mine.
    const other = sdk(a.url, OTHER).start({ query: 'other' });
    await snapshotWhen(other, ({ ahead }) => ahead === 1);
    await snapshotWhen(second, ({ ahead }) => ahead === 2);
    await snapshotWhen(third, ({ ahead }) => ahead === 3);
    call.say('Here.');
    call.finish();
    await first.result;
    for (const [node, answer] of [
      [a, other],
      [b, second],
      [a, third],
    ] as const) {
      const next = await node.nextCall();
      expect(next.prompt.messages.at(-1)).toMatchObject({ text: answer.request!.query });
      next.say('Here.');
      next.finish();
      await answer.result;
    }
    await vi.waitFor(async () => expect(await tickets(redis)).toBe(0));
  });

  it('and the places in the queue are refused as those of one process', async () => {
    const { a, b } = await cluster({
      concurrency: 1,
      limits: { maxQueued: 2 },
      authenticate: ({ token }) => (token === undefined ? undefined : { principal: token }),
    });
    const as = (user: string) => ({ auth: () => user });
    sdk(a.url, as('me')).start({ query: 'first' });
    await a.nextCall();
    const waiting = sdk(b.url, as('me')).start({ query: 'second' });
    await snapshotWhen(waiting, ({ ahead }) => ahead === 1);
    const mine = sdk(a.url, as('me')).start({ query: 'third' });
    await expect(mine.result).rejects.toMatchObject({
      code: 'overloaded',
      message: expect.stringContaining('1 requests from you or your network wait for it already'),
    });
    const other = sdk(a.url, as('another')).start({ query: 'other' });
    await snapshotWhen(other, ({ ahead }) => ahead === 1 || ahead === 2);
    await expect(sdk(b.url, as('a third')).start({ query: 'x' }).result).rejects.toMatchObject({
      code: 'overloaded',
      message: expect.stringContaining('2 requests wait for it already'),
    });
  });

  it('and half of the places are for the browsers of one address', async () => {
    const { a, b } = await cluster({ concurrency: 1, limits: { maxQueued: 4 } });
    const browser = (i: number) => ({ browserId: `the-browser-of-visitor-${i}` });
    sdk(a.url, browser(0)).start({ query: 'first' });
    await a.nextCall();
    for (const [i, { url }] of [a, b].entries()) {
      const waiting = sdk(url, browser(i + 1)).start({ query: `waits ${i}` });
      await snapshotWhen(waiting, ({ ahead }) => ahead !== undefined);
    }
    await expect(sdk(b.url, browser(3)).start({ query: 'x' }).result).rejects.toMatchObject({
      code: 'overloaded',
      message: expect.stringContaining('2 requests from you or your network wait for it already'),
    });
  });

  it('are given up at once by a stream that all readers have left, when another process needs one', async () => {
    const { a, b } = await cluster({ concurrency: 1, limits: { detachTimeoutMs: 1_000_000 } });
    const socket = connect(a.url, { browser_id: ME.browserId });
    const ask = { query: 'first', stream_id: 'A', window: 1_000, reader_id: 'r' };
    await socket.emitWithAck(EVENT.start, ask);
    const call = await a.nextCall();
    await socket.emitWithAck(EVENT.detach, { stream_id: 'A', reader_id: 'r' });
    sdk(b.url, OTHER).start({ query: 'second' });
    await expect(call.aborted).resolves.toBeUndefined();
    await b.nextCall();
  });

  it('are those of each process while Redis is away, and of all again afterwards', async () => {
    const { redis, a, b } = await cluster({ concurrency: 1 });
    const first = sdk(a.url, ME).start({ query: 'first' });
    const call = await a.nextCall();
    const second = sdk(b.url, ME).start({ query: 'second' });
    await snapshotWhen(second, ({ ahead }) => ahead === 1);
    await redis.stop();
    const own = await b.nextCall();
    const third = sdk(b.url, ME).start({ query: 'third' });
    await snapshotWhen(third, ({ ahead }) => ahead === 1);
    const local = sdk(a.url, ME).start({ query: 'fourth' });
    await snapshotWhen(local, ({ ahead }) => ahead === 1);
    await redis.start();
    await vi.waitFor(async () => expect(await tickets(redis)).toBe(4));
    // The places of both are in one order again.
    await Promise.race(
      [third, local].map((last) => snapshotWhen(last, ({ ahead }) => ahead === 2)),
    );
    // Two run where one should: a slot that is released is taken by none.
    call.say('Here.');
    call.finish();
    await first.result;
    await vi.waitFor(async () => expect(await tickets(redis)).toBe(3));
    expect([a.calls.length, b.calls.length]).toEqual([1, 1]);
    own.say('Here.');
    own.finish();
    await second.result;
    const [there, here] = [b.nextCall(), a.nextCall()];
    const last = await Promise.race([there, here]);
    expect(a.calls.length + b.calls.length).toBe(3);
    last.say('Here.');
    last.finish();
    await Promise.all([there, here]);
  });

  it('and the places of a process that dies fall to the others', async () => {
    const redis = await startRedis();
    const env = { CONCURRENCY: '1' };
    const [one, two] = [await startNode(redis.url, env), await startNode(redis.url, env)];
    const first = sdk(one.url, ME).start({ query: 'count 1000 50' });
    await snapshotWhen(first, ({ text }) => text !== '');
    const waitsThere = sdk(one.url, ME).start({ query: 'count 3 5' });
    await snapshotWhen(waitsThere, ({ ahead }) => ahead === 1);
    const second = sdk(two.url, OTHER).start({ query: 'count 2 5' });
    await snapshotWhen(second, ({ ahead }) => ahead !== undefined);
    await one.stop('SIGKILL');
    expect(await second.result).toMatchObject({ text: counted(2) });
  });

  it('that Redis has lost are put back, also beyond the number', async () => {
    const redis = await startRedis();
    const [one, two] = [await queueOf(redis, 1, 'p'), await queueOf(redis, 1, 'p')];
    const { signal } = new AbortController();
    const join = (queue: Queue, principal: string) =>
      queue.join({ principal, signal }, false, () => {});
    const first = join(one, 'ada');
    await vi.waitFor(() => expect(first.isAcquired).toBe(true));
    const second = join(two, 'bob');
    await vi.waitFor(() => expect(second.ahead).toBe(1));
    await redis.command('FLUSHALL');
    const third = join(two, 'eve');
    // Redis knows of the slot that is held, and of those that wait, in their order.
    await vi.waitFor(async () =>
      expect(await redis.command('HLEN', 'test:v1{rv}:sl:p')).toBeGreaterThanOrEqual(6),
    );
    const running = [first, second, third].filter(({ isAcquired }) => isAcquired);
    expect(running.length).toBeLessThanOrEqual(2);
    for (const slot of running) slot.release();
    await vi.waitFor(() => expect(second.isAcquired || third.isAcquired).toBe(true));
  });
});

/** A queue of a process of its own, once Redis is reached. */
async function queueOf(redis: TestRedis, concurrency: number, pool: string) {
  const settings = { url: redis.url, keyPrefix: 'test:' };
  const state = new SharedState(settings, createClient, createLogger('silent'));
  onTestFinished(() => state.close());
  const cache = state.createCache({ ttlSeconds: 1, maxBytes: 1_000 });
  await vi.waitFor(() => expect(cache.get('unknown')).toBeInstanceOf(Promise));
  return state.createQueue({ name: pool, concurrency, maxQueued: 6 });
}

it('a queue that two processes share decides as that of one process does', async () => {
  const redis = await startRedis();
  const step = fc.record({
    principal: fc.constantFrom('a', 'b', 'c', 'd'),
    isUnderWay: fc.integer({ max: 4, min: 0 }).map((n) => n === 0),
    isPreemptible: fc.integer({ max: 4, min: 0 }).map((n) => n === 0),
    /** Releases a request of those before. */
    releases: fc.option(fc.nat()),
    /** Has a reader of a request come back. */
    changes: fc.option(fc.nat()),
    process: fc.nat(1),
  });
  const samples = fc.sample(fc.array(step, { minLength: 25, maxLength: 25 }), {
    numRuns: 3,
    seed: 11,
  });
  for (const [run, steps] of samples.entries()) {
    const shared = [
      await queueOf(redis, 2, `p${run}`),
      await queueOf(redis, 2, `p${run}`),
    ] as const;
    const own = createQueue({ name: 'model', concurrency: 2, maxQueued: 6 });
    const { signal } = new AbortController();
    const requests: Both[] = [];
    const compare = (read: (one: One) => string, at: string) =>
      vi.waitFor(
        () => {
          const of = (index: 0 | 1) => requests.map(({ ones }) => read(ones[index]));
          expect([at, ...of(1)]).toEqual([at, ...of(0)]);
        },
        { interval: 5 },
      );
    for (const [i, { principal, isUnderWay, isPreemptible, ...rest }] of steps.entries()) {
      const alive = requests.filter(({ ones }) => ones[0].status !== 'gone');
      const pick = (n: number | null) => (n === null ? undefined : alive[n % alive.length]);
      // Changes of two processes reach Redis in any order unless one waits for the other.
      const arrived = () =>
        vi.waitFor(async () => {
          const values = (await redis.command('HVALS', `test:v1{rv}:sl:p${run}`)) as string[];
          const known = values.filter((value) => value.includes('|'));
          const inTime = requests.filter(({ ones }) => ones[0].status !== 'gone');
          expect(known).toHaveLength(inTime.length);
          const soft = inTime.filter(({ ones }) => ones[0].isPreemptible);
          expect(known.filter((value) => value.endsWith('p'))).toHaveLength(soft.length);
        });
      for (const one of pick(rest.releases)?.ones ?? []) one.release();
      await arrived();
      await compare(({ status }) => status, `${run}: step ${i}, release`);
      for (const one of pick(rest.changes)?.ones ?? []) one.keep();
      await arrived();
      await compare(({ status }) => status, `${run}: step ${i}, change`);
      const join = (queue: Queue) =>
        new One(queue, { principal, signal }, isUnderWay, isPreemptible);
      requests.push({ ones: [join(own), join(shared[rest.process === 0 ? 0 : 1])] });
      await compare(({ place }) => place, `${run}: step ${i}, join`);
    }
  }
}, 60_000);

/** The same request in two queues. */
interface Both {
  ones: [own: One, shared: One];
}

class One {
  #slot: Slot | undefined;
  #isGone = false;
  isPreemptible: boolean;
  readonly #listeners = new Set<() => void>();

  constructor(
    queue: Queue,
    requester: { principal: string; signal: AbortSignal },
    isUnderWay: boolean,
    isPreemptible: boolean,
  ) {
    this.isPreemptible = isPreemptible;
    const get = (): boolean => this.isPreemptible;
    const preemption = {
      get isPreemptible() {
        return get();
      },
      onChange: (listener: () => void) => {
        this.#listeners.add(listener);
        return () => this.#listeners.delete(listener);
      },
      preempt: () => this.release(),
    };
    try {
      this.#slot = queue.join({ ...requester, preemption }, isUnderWay, () => {});
    } catch {
      this.#isGone = true;
    }
  }

  get status(): string {
    if (this.#isGone || this.#slot?.refusal !== undefined) return 'gone';
    return this.#slot?.isAcquired === true ? 'runs' : 'waits';
  }

  get place(): string {
    return this.status === 'waits' ? `waits behind ${this.#slot?.ahead}` : this.status;
  }

  keep(): void {
    this.isPreemptible = false;
    for (const listener of this.#listeners) listener();
  }

  release(): void {
    this.#isGone = true;
    this.#slot?.release();
  }
}
