import { describe, expect, it, vi } from 'vitest';
import { balance, counted, signal, startNode } from '../harness/cluster/cluster.js';
import { startRedis } from '../harness/redis.js';
import { sdk, snapshotWhen } from '../harness/sdk.js';

const ME = { browserId: 'the-browser-of-the-first-visitor' };
const WORDS = 100;

async function nodes(count: number, env: Record<string, string> = {}, ...redisArgs: string[]) {
  const redis = await startRedis(...redisArgs);
  const started = await Promise.all(Array.from({ length: count }, () => startNode(redis.url, env)));
  return { redis, nodes: started, urls: started.map(({ url }) => url) };
}

const MANY_PROCESSES = { timeout: 120_000 };

type Nodes = Awaited<ReturnType<typeof nodes>>['nodes'];

function ownerOf(all: Nodes) {
  return vi.waitFor(() => {
    const owner = all.find(({ lines }) => lines().some((line) => line.startsWith('call')));
    expect(owner).toBeDefined();
    return { owner: owner!, others: all.filter((node) => node !== owner) };
  });
}

const callsOf = (all: Nodes): number =>
  all.flatMap(({ lines }) => lines()).filter((line) => line.startsWith('call')).length;

describe('a process that dies while it generates', MANY_PROCESSES, () => {
  it('is replaced, and its readers have the exact text of a further attempt', async () => {
    const { nodes: all, urls } = await nodes(2);
    const { url } = await balance(urls);
    const answer = sdk(url, ME).start({ query: `count ${WORDS} 20` });
    await snapshotWhen(answer, ({ text }) => text.length > 20);
    const { owner } = await ownerOf(all);
    await owner.stop('SIGKILL');
    await snapshotWhen(answer, ({ attempt }) => attempt === 101);
    expect(await answer.result).toMatchObject({
      status: 'done',
      text: counted(WORDS),
      attempt: 101,
    });
  });

  it('has its answers ended where LLM_ON_NODE_LOSS is fail', async () => {
    const { nodes: all, urls } = await nodes(2, { LLM_ON_NODE_LOSS: 'fail' });
    const { url } = await balance(urls);
    const answer = sdk(url, ME).start({ query: `count ${WORDS} 20` });
    await snapshotWhen(answer, ({ text }) => text.length > 20);
    const { owner } = await ownerOf(all);
    await owner.stop('SIGKILL');
    await expect(answer.result).rejects.toMatchObject({ code: 'interrupted' });
    expect(callsOf(all)).toBe(1);
  });

  it.each([
    ['a tool that has run', {}, 'paid'],
    ['a tool that was running', { TOOL_HANGS: '1' }, 'the server went away while the tool ran'],
  ])('does not have %s run again', async (_, env, result) => {
    const { nodes: all, urls } = await nodes(2, env);
    const { url } = await balance(urls);
    const answer = sdk(url, ME).start({ query: `tool ${WORDS} 20` });
    await snapshotWhen(answer, ({ text, tools }) =>
      result === 'paid' ? text.length > 20 : tools.length > 0,
    );
    const { owner, others } = await ownerOf(all);
    await vi.waitFor(() => expect(owner.lines()).toContain('charged'));
    await owner.stop('SIGKILL');
    expect(await answer.result).toMatchObject({ status: 'done', text: counted(WORDS) });
    expect(others.flatMap(({ lines }) => lines())).not.toContain('charged');
    expect(others[0]!.lines().find((line) => line.startsWith('tools'))).toContain(result);
  });
});

describe('a process that is replaced by SIGTERM', MANY_PROCESSES, () => {
  it('lets its answers go on elsewhere, without an error', async () => {
    const { nodes: all, urls } = await nodes(2, { DRAIN_SECONDS: '1' });
    const { url } = await balance(urls);
    const answer = sdk(url, ME).start({ query: `count ${WORDS} 50` });
    await snapshotWhen(answer, ({ text }) => text.length > 20);
    const { owner } = await ownerOf(all);
    expect(await owner.stop('SIGTERM')).toBe(0);
    expect(await answer.result).toMatchObject({
      status: 'done',
      text: counted(WORDS),
      attempt: 101,
    });
  });
});

describe('a process that is stopped while it generates', MANY_PROCESSES, () => {
  it('is replaced within 15 s, and cannot write after that', async () => {
    const { nodes: all, urls, redis } = await nodes(2);
    const answer = sdk(urls[0]!, ME).start({ query: `count ${WORDS} 100` });
    await snapshotWhen(answer, ({ text }) => text.length > 10);
    const { owner, others } = await ownerOf(all);
    const reader = sdk(others[0]!.url, ME).resume(answer.id);
    await snapshotWhen(reader, ({ text }) => text.length > 10);
    const stoppedAt = performance.now();
    signal(owner.pid, 'SIGSTOP');
    await snapshotWhen(reader, ({ attempt, text }) => attempt === 101 && text.length > 10);
    expect(performance.now() - stoppedAt).toBeLessThan(15_000);
    signal(owner.pid, 'SIGCONT');
    // Both read what the new owner writes.
    await snapshotWhen(answer, ({ attempt }) => attempt === 101);
    const done = { status: 'done', text: counted(WORDS), attempt: 101 };
    expect(await reader.result).toMatchObject(done);
    expect(await answer.result).toMatchObject(done);
    const keys = (await redis.command('KEYS', '*')) as string[];
    expect(keys.filter((key) => key.includes(':l:'))).toHaveLength(1);
  });

  it('has one writer, also where its event loop was blocked', async () => {
    const { nodes: all, urls } = await nodes(2);
    const answer = sdk(urls[0]!, ME).start({ query: `count ${WORDS} 100` });
    await snapshotWhen(answer, ({ text }) => text.length > 10);
    const { owner, others } = await ownerOf(all);
    const reader = sdk(others[0]!.url, ME).resume(answer.id);
    await snapshotWhen(reader, ({ text }) => text.length > 10);
    signal(owner.pid, 'SIGUSR2');
    const done = { status: 'done', text: counted(WORDS), attempt: 101 };
    expect(await reader.result).toMatchObject(done);
    expect(await answer.result).toMatchObject(done);
  });
});

describe('processes that are all killed', MANY_PROCESSES, () => {
  it('leave no key in Redis without an end to its life', async () => {
    const { nodes: all, urls, redis } = await nodes(2);
    const [a, b] = urls.map((url) => sdk(url, ME)) as [
      ReturnType<typeof sdk>,
      ReturnType<typeof sdk>,
    ];
    await a.start({ query: 'count 1 1' }).result;
    const answer = a.start({ query: `count ${WORDS} 100` });
    const reader = b.resume(answer.id);
    await snapshotWhen(reader, ({ text }) => text.length > 10);
    b.start({ query: `count ${WORDS} 100`, options: { cache: 'no-store' } });
    await vi.waitFor(() => expect(callsOf(all)).toBe(3));
    await Promise.all(all.map((node) => node.stop('SIGKILL')));
    const [, keys] = (await redis.command('SCAN', '0', 'COUNT', '10000')) as [string, string[]];
    const kinds = new Set(keys.map((key) => key.split('}:')[1]!.split(':')[0]));
    for (const kind of 'sglqmfrphno') expect(kinds).toContain(kind);
    for (const key of keys) expect([key, await redis.command('PTTL', key)]).not.toContain(-1);
  });
});

describe('Redis that restarts', () => {
  it('with its append-only file costs no second attempt', async () => {
    const aof = ['--appendonly', 'yes', '--appendfsync', 'everysec'];
    const { nodes: all, urls, redis } = await nodes(2, {}, ...aof);
    const answer = sdk(urls[0]!, ME).start({ query: `count ${WORDS} 100` });
    await snapshotWhen(answer, ({ text }) => text.length > 10);
    const { others } = await ownerOf(all);
    const reader = sdk(others[0]!.url, ME).resume(answer.id);
    await snapshotWhen(reader, ({ text }) => text.length > 10);
    await redis.stop();
    await redis.start();
    const done = { status: 'done', text: counted(WORDS), attempt: 1 };
    expect(await reader.result).toMatchObject(done);
    expect(await answer.result).toMatchObject(done);
    expect(callsOf(all)).toBe(1);
  });

  it('empty has its logs back from the processes that write them', async () => {
    const { nodes: all, urls, redis } = await nodes(2);
    const answer = sdk(urls[0]!, ME).start({ query: `count ${WORDS} 100` });
    await snapshotWhen(answer, ({ text }) => text.length > 10);
    const { others } = await ownerOf(all);
    const reader = sdk(others[0]!.url, ME).resume(answer.id);
    await snapshotWhen(reader, ({ text }) => text.length > 10);
    await redis.stop();
    await redis.start();
    const done = { status: 'done', text: counted(WORDS), attempt: 1 };
    expect(await reader.result).toMatchObject(done);
    expect(await answer.result).toMatchObject(done);
    expect(callsOf(all)).toBe(1);
    const late = sdk(others[0]!.url, ME).resume(answer.id);
    expect(await late.result).toMatchObject(done);
  });
});
