import { readFileSync } from 'node:fs';
import { EVENT } from '@rivulet/protocol';
import { mockProvider, type Prompt } from '@rivulet/server';
import { describe, expect, it } from 'vitest';
import { tokenQuota } from '../examples/token-quota.js';
import { collect } from '../harness/plain-client.js';
import { startServer } from '../harness/rivulet.js';
import { stage } from '../harness/stage.js';
import { connectAs, start, USERS } from '../harness/users.js';

const ROOT = new URL('../../', import.meta.url);

describe('the example of a token quota', () => {
  it('stands in the documentation as it is tested', () => {
    const example = readFileSync(new URL('test/examples/token-quota.ts', ROOT), 'utf8');
    const page = readFileSync(new URL('docs/hooks.md', ROOT), 'utf8');
    expect(page).toContain(example);
  });

  it('refuses a user who has used the tokens of the day, and nobody else', async () => {
    const prompts: Prompt[] = [];
    const provider = mockProvider((prompt) => {
      prompts.push(prompt);
      return [
        { text: 'Hello.' },
        { finish: 'stop', usage: { input_tokens: 10, output_tokens: 50 } },
      ];
    });
    const { url } = await startServer(provider, {
      ...USERS,
      ...tokenQuota({ perDay: 200, perAnswer: 100 }),
    });
    const ask = async (user: string, query: string) => {
      const socket = connectAs(url, user);
      const collected = collect(socket);
      await start(socket, query, { query });
      return (await collected).terminal;
    };
    for (const query of ['1', '2'])
      expect(await ask('ann', query)).toMatchObject({ type: EVENT.end });
    // 120 tokens are used, and an answer may need 100.
    const refused = await ask('ann', '3');
    expect(refused).toMatchObject({ code: 'rate_limited', retryable: true });
    expect(refused).toHaveProperty('retry_after_ms', expect.any(Number));
    expect(await ask('bob', '3')).toMatchObject({ type: EVENT.end });
    expect(prompts.map(({ maxTokens }) => maxTokens)).toEqual([100, 100, 100]);
  });

  it('counts the tokens of turns before an answer is stopped', async () => {
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider, {
      ...USERS,
      tools: [
        {
          name: 'read',
          description: 'Reads.',
          parameters: { type: 'object' },
          call: async () => 'x',
        },
      ],
      ...tokenQuota({ perDay: 1_000, perAnswer: 100 }),
    });
    const socket = connectAs(url, 'ann');
    await start(socket, 'A', { query: 'a' });
    const asking = await nextCall();
    asking.callTool('read', {});
    asking.finish('stop', undefined, { input_tokens: 900, output_tokens: 50 });
    await nextCall();
    const cancelled = collect(socket);
    await socket.emitWithAck(EVENT.cancel, { stream_id: 'A' });
    await cancelled;
    const refused = collect(socket);
    await start(socket, 'B', { query: 'b' });
    expect((await refused).terminal).toMatchObject({ code: 'rate_limited' });
  });

  it('counts questions that are asked together, a cancelled answer, and nothing for a cached one', async () => {
    const { provider, nextCall, calls } = stage();
    const { url } = await startServer(provider, {
      ...USERS,
      ...tokenQuota({ perDay: 250, perAnswer: 100 }),
    });
    const socket = connectAs(url, 'ann');
    await start(socket, 'A', { query: 'a' });
    await start(socket, 'B', { query: 'b' });
    const refused = collect(socket);
    await start(socket, 'C', { query: 'c' });
    expect((await refused).terminal).toMatchObject({ code: 'rate_limited' });
    const [first, second] = [await nextCall(), await nextCall()];
    const ended = collect(socket);
    first.say('x'.repeat(40));
    first.finish();
    await ended;
    second.say('x'.repeat(400));
    const cancelled = collect(socket);
    await socket.emitWithAck(EVENT.cancel, { stream_id: 'B' });
    await cancelled;
    const cached = collect(socket);
    await start(socket, 'D', { query: 'a' });
    expect((await cached).terminal).toMatchObject({ source: 'cache' });
    // About 15 and 105 tokens are used, so one more fits, and no second one.
    const over = collect(socket);
    await start(socket, 'E', { query: 'e' });
    await start(socket, 'F', { query: 'f' });
    expect((await over).terminal).toMatchObject({ stream_id: 'F', code: 'rate_limited' });
    expect(calls.length).toBeLessThanOrEqual(3);
  });
});
