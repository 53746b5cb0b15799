import { setTimeout as wait } from 'node:timers/promises';
import type { Answer, ClientTool, ToolReply } from '@rivulet/client';
import { EVENT } from '@rivulet/protocol';
import { describe, expect, it, vi } from 'vitest';
import * as z from 'zod';
import { counted, signal, startNode } from '../harness/cluster/cluster.js';
import { cluster } from '../harness/cluster/servers.js';
import { connect } from '../harness/plain-client.js';
import { redisProxy } from '../harness/redis-proxy.js';
import { startRedis, type TestRedis } from '../harness/redis.js';
import { sdk, snapshotWhen } from '../harness/sdk.js';
import { answer as say, resultsTold, runs } from '../harness/tools.js';

const ME = { browserId: 'the-browser-of-the-first-visitor' };
const place: ClientTool = {
  name: 'place',
  description: 'Says where the user is.',
  parameters: z.object({ of: z.string() }),
};

/** Servers that share a Redis, and an answer that `a` generates and that waits for `tool`; `b` reads it. */
async function waiting(
  tool: 'place' | 'refund',
  options: Parameters<typeof cluster>[0] = {},
  ...behind: [redis?: TestRedis, url?: string]
) {
  const ran: unknown[] = [];
  const refund = runs('refund', (args) => void ran.push(args), { needsApproval: true });
  const started = await cluster({ tools: [refund], ...options }, ...behind);
  const { a, b } = started;
  const tools = tool === 'place' ? { tools: [place] } : {};
  const here = sdk(a.url, ME).start({ query: 'Do it.', ...tools });
  const first = await a.nextCall();
  first.callTool(tool, { of: 'me' });
  first.finish();
  await awaiting(here);
  const there = sdk(b.url, ME).resume(here.id);
  await awaiting(there);
  return { ...started, here, there, ran };
}

const awaiting = (answer: Answer) =>
  snapshotWhen(answer, ({ tools: [use] }) => use?.status === 'awaiting');

const codeOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: { code: string }) => error.code,
  );

describe('a call that waits for a client and is answered through another process', () => {
  it.each<[string, 'place' | 'refund', ToolReply, object, number]>([
    ['runs once it is approved', 'refund', { approved: true }, { result: null }, 1],
    ['is refused', 'refund', { approved: false }, { error: 'the user refused the call' }, 0],
    ['has its result', 'place', { result: { city: 'Rome' } }, { result: { city: 'Rome' } }, 0],
    ['has its error', 'place', { error: 'no idea' }, { error: 'no idea' }, 0],
  ])('%s', async (_, tool, reply, told, timesRun) => {
    const { a, here, there, ran } = await waiting(tool);
    await there.reply('call-1', reply);
    const second = await a.nextCall();
    expect(resultsTold(second)).toMatchObject([told]);
    expect(ran).toHaveLength(timesRun);
    say(second, 'Done.');
    for (const answer of [here, there])
      expect(await answer.result).toMatchObject({ text: 'Done.' });
  });

  it('takes one of two answers, and the same one again, as with one process', async () => {
    const { a, here, there } = await waiting('place');
    expect(await codeOf(there.reply('call-1', { approved: true }))).toBe('bad_request');
    expect(await codeOf(there.reply('call-9', { result: 1 }))).toBe('not_found');
    expect(await codeOf(there.reply('call-1', { result: 'x'.repeat(131_073) }))).toBe(
      'bad_request',
    );
    const replies = [
      here.reply('call-1', { result: 'here' }),
      there.reply('call-1', { result: 'there' }),
    ];
    const codes = await Promise.all(replies.map(codeOf));
    expect(new Set(codes)).toEqual(new Set(['conflict', undefined]));
    const winner = codes[0] === undefined ? 'here' : 'there';
    const second = await a.nextCall();
    expect(resultsTold(second)).toMatchObject([{ result: winner }]);
    for (const answer of [here, there]) {
      await answer.reply('call-1', { result: winner });
      expect(await codeOf(answer.reply('call-1', { result: 'else' }))).toBe('conflict');
    }
    expect(a.calls).toHaveLength(2);
  });

  it('is answered once when both processes take the same answer', async () => {
    const { a, here, there, ran } = await waiting('refund');
    await Promise.all([here, there].map((each) => each.reply('call-1', { approved: true })));
    const second = await a.nextCall();
    expect(ran).toHaveLength(1);
    say(second);
    expect(await there.result).toMatchObject({ status: 'done' });
    expect(ran).toHaveLength(1);
  });

  it('refuses an answer after its time, and after the end of the stream', async () => {
    const late = await waiting('place', { limits: { toolReplyTimeoutMs: 1 } });
    const second = await late.a.nextCall();
    expect(resultsTold(second)).toMatchObject([{ error: expect.stringContaining('nobody') }]);
    expect(await codeOf(late.there.reply('call-1', { result: 1 }))).toBe('conflict');
    const { a, b, here } = await waiting('place');
    const other = connect(b.url, { browser_id: ME.browserId });
    here.cancel();
    await vi.waitFor(async () => {
      const reply = { stream_id: here.id, call_id: 'call-1', result: 1 };
      const { error } = (await other.emitWithAck(EVENT.toolReply, reply)) as { error: object };
      expect(error).toMatchObject({ code: 'conflict' });
    });
    expect(a.calls).toHaveLength(1);
  });

  it("is not found by another principal's clients", async () => {
    const { b, here } = await waiting('place');
    const stranger = connect(b.url, { browser_id: 'the-browser-of-another-visitor' });
    const reply = { stream_id: here.id, call_id: 'call-1', result: 1 };
    expect(await stranger.emitWithAck(EVENT.toolReply, reply)).toMatchObject({
      error: { code: 'not_found' },
    });
  });

  it('reaches the process that generates also where its messages are lost', async () => {
    const redis = await startRedis();
    const proxy = await redisProxy(redis.url);
    const { a, there } = await waiting('place', {}, redis, proxy.url);
    // Neither process hears anything, heartbeats included, until its connection is replaced.
    proxy.drops = ({ sent }) => sent.includes('rivulet-subscriber');
    await there.reply('call-1', { result: 'there' });
    expect(resultsTold(await a.nextCall())).toMatchObject([{ result: 'there' }]);
  });

  it("is answered by the page's handler once Redis is back", async () => {
    const started = await cluster();
    const { a, b, redis } = started;
    const here = sdk(a.url, ME).start({ query: 'Do it.', tools: [place] });
    const first = await a.nextCall();
    first.callTool('place', { of: 'me' });
    first.finish();
    await awaiting(here);
    let isAsked = false;
    const execute = async () => {
      await redis.stop();
      isAsked = true;
      return 'Rome';
    };
    sdk(b.url, ME).resume(here.id, { tools: [{ ...place, execute }] });
    await vi.waitFor(() => expect(isAsked).toBe(true));
    await wait(200);
    await redis.start();
    expect(resultsTold(await a.nextCall())).toMatchObject([{ result: 'Rome' }]);
  });

  it('is to be answered again while Redis is away, except at the process that generates', async () => {
    const { a, redis, here, there } = await waiting('place');
    await redis.stop();
    await expect(there.reply('call-1', { result: 'there' })).rejects.toMatchObject({
      code: 'overloaded',
      retryable: true,
      retryAfterMs: 1_000,
    });
    await vi.waitFor(() => here.reply('call-1', { result: 'here' }));
    expect(resultsTold(await a.nextCall())).toMatchObject([{ result: 'here' }]);
  });
});

const WORDS = 20;

/** Two server processes. The first generates an answer that waits; a client of the second reads it. */
async function waitingNodes(kind: 'approve' | 'page', env: Record<string, string> = {}) {
  const redis = await startRedis();
  const other = await startNode(redis.url, env);
  const owner = await startNode(redis.url, env);
  const tools = kind === 'page' ? { tools: [{ ...place, parameters: z.object({}) }] } : {};
  const first = sdk(owner.url, ME).start({ query: `${kind} ${WORDS} 5`, ...tools });
  await awaiting(first);
  const answer = sdk(other.url, ME).resume(first.id);
  await awaiting(answer);
  return { redis, owner, other, answer };
}

const takenOver = (answer: Answer) => snapshotWhen(answer, ({ attempt }) => attempt === 101);

describe('a call that waits for a client when its process dies', () => {
  it.each<['approve' | 'page', ToolReply, string]>([
    ['approve', { approved: true }, '"result":"refunded"'],
    ['approve', { approved: false }, 'the user refused the call'],
    ['page', { result: 'Rome' }, '"result":"Rome"'],
  ])('waits on in the process that takes over: %s, %j', async (kind, reply, told) => {
    const { redis, owner, other, answer } = await waitingNodes(kind);
    await owner.stop('SIGKILL');
    // Redis has the new owner once the old one's logs are claimed.
    await vi.waitFor(
      async () => {
        const keys = (await redis.command('KEYS', '*:g:*')) as string[];
        expect(await redis.command('HGET', keys[0]!, 'fence')).toBe('2');
      },
      { timeout: 10_000, interval: 100 },
    );
    await wait(100);
    expect(answer.getSnapshot()).toMatchObject({
      tools: [{ callId: 'call-1', status: 'awaiting' }],
    });
    await answer.reply('call-1', reply);
    expect(await answer.result).toMatchObject({
      status: 'done',
      text: counted(WORDS),
      attempt: 101,
    });
    expect(other.lines().find((line) => line.startsWith('tools'))).toContain(told);
    expect(other.lines().filter((line) => line === 'refunded')).toHaveLength(
      told.includes('refunded') ? 1 : 0,
    );
  });

  it('takes its answer before another process has taken over', async () => {
    const { owner, other, answer } = await waitingNodes('page');
    await owner.stop('SIGKILL');
    await answer.reply('call-1', { result: 'Rome' });
    expect(await answer.result).toMatchObject({ status: 'done', attempt: 101 });
    expect(other.lines().find((line) => line.startsWith('tools'))).toContain('Rome');
  });

  it('keeps the answer that its process had taken, and does not run an approved tool again', async () => {
    const { owner, other, answer } = await waitingNodes('approve', { TOOL_HANGS: '1' });
    await answer.reply('call-1', { approved: true });
    await vi.waitFor(() => expect(owner.lines()).toContain('refunded'));
    await owner.stop('SIGKILL');
    await takenOver(answer);
    expect(await answer.result).toMatchObject({
      status: 'done',
      tools: [{ approved: true, error: expect.stringContaining('it may have done its work') }],
    });
    expect(other.lines()).not.toContain('refunded');
  });

  it('is not run by a process that was stopped and goes on', async () => {
    const { owner, other, answer } = await waitingNodes('approve');
    signal(owner.pid, 'SIGSTOP');
    await wait(6_000);
    await answer.reply('call-1', { approved: true });
    expect(await answer.result).toMatchObject({ status: 'done', attempt: 101 });
    signal(owner.pid, 'SIGCONT');
    await wait(1_500);
    expect(owner.lines()).not.toContain('refunded');
    expect(other.lines().filter((line) => line === 'refunded')).toHaveLength(1);
  });
});
