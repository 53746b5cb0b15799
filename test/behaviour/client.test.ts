import { type AnswerRequest, StreamError } from '@rivulet/client';
import { ProviderError } from '@rivulet/server';
import { firstValueFrom, lastValueFrom, take, toArray } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { startServer } from '../harness/rivulet.js';
import { sdk, snapshotWhen, staged } from '../harness/sdk.js';
import { stage } from '../harness/stage.js';

const ASK: AnswerRequest = { query: 'What is a delta?' };

describe('an answer as a handle', () => {
  it('goes through its states, each a frozen snapshot, and completes', async () => {
    const { client, nextCall } = await staged();
    const answer = client.start(ASK);
    const states = firstValueFrom(answer.state$.pipe(toArray()));
    expect(answer.getSnapshot()).toMatchObject({ status: 'waiting', text: '', attempt: 0 });
    const call = await nextCall();
    call.say('Where a river');
    await snapshotWhen(answer, ({ status }) => status === 'streaming');
    call.say(' ends.');
    call.finish();
    const final = await answer.result;
    expect(final).toMatchObject({
      status: 'done',
      text: 'Where a river ends.',
      source: 'model',
      provider: 'stage',
      finishReason: 'stop',
      error: undefined,
    });
    expect(final.timing!.totalMs).toBeGreaterThanOrEqual(final.timing!.firstChunkMs!);
    expect(answer.getSnapshot()).toBe(final);
    const seen = await states;
    expect(seen.every((state) => Object.isFrozen(state))).toBe(true);
    expect(seen.map((state) => [state.status, state.text])).toEqual([
      ['waiting', ''],
      ['waiting', ''], // the server has it, and said its `requestId`
      ['waiting', ''], // the attempt has begun
      ['streaming', 'Where a river'],
      ['streaming', 'Where a river ends.'],
      ['done', 'Where a river ends.'],
    ]);
    // A view that comes late has the end at once.
    expect(await firstValueFrom(answer.state$)).toBe(final);
  });

  it('gives its text, its events, and itself to a loop', async () => {
    const { client, nextCall } = await staged();
    const answer = client.start(ASK);
    const texts = firstValueFrom(answer.text$.pipe(toArray()));
    const events = firstValueFrom(answer.events$.pipe(toArray()));
    const call = await nextCall();
    call.say('Where');
    await snapshotWhen(answer, (s) => s.text !== '');
    call.say(' it ends.');
    call.finish();
    expect(await texts).toEqual(['', 'Where', 'Where it ends.']);
    expect((await events).map(({ type }) => type)).toEqual(['start', 'text', 'text', 'end']);
    const looped = [];
    for await (const event of answer) looped.push(event);
    expect(looped).toMatchObject([
      { type: 'start', attempt: 1, source: 'model' },
      { type: 'text', text: 'Where it ends.' },
      { type: 'end', finishReason: 'stop' },
    ]);
  });

  it('stops at once, keeps what came, and lets the model go', async () => {
    const { client, nextCall } = await staged();
    const answer = client.start(ASK);
    const call = await nextCall();
    call.say('Where a');
    await snapshotWhen(answer, (s) => s.text !== '');
    answer.cancel();
    expect(answer.getSnapshot()).toMatchObject({ status: 'cancelled', text: 'Where a' });
    await call.aborted;
    expect(await answer.result).toMatchObject({ status: 'cancelled' });
    await expect(lastValueFrom(answer.events$)).rejects.toMatchObject({
      code: 'cancelled',
      partialText: 'Where a',
    });
  });

  it('stops before the first text, too', async () => {
    const { client, nextCall } = await staged();
    const answer = client.start(ASK);
    const call = await nextCall();
    answer.cancel();
    await call.aborted;
    expect(answer.getSnapshot()).toMatchObject({ status: 'cancelled', text: '' });
  });

  it('is stopped by its AbortSignal', async () => {
    const { client, nextCall } = await staged();
    const controller = new AbortController();
    const answer = client.start({ ...ASK, options: { signal: controller.signal } });
    const call = await nextCall();
    controller.abort();
    await call.aborted;
    expect(answer.getSnapshot().status).toBe('cancelled');
    const late = client.start({ ...ASK, options: { signal: controller.signal } });
    expect(late.getSnapshot().status).toBe('cancelled');
  });

  it('fails with the code of the server and the text so far, in the state and in the result', async () => {
    const { client, nextCall } = await staged();
    const answer = client.start(ASK);
    const call = await nextCall();
    call.say('Where a');
    await snapshotWhen(answer, (s) => s.text !== '');
    call.fail(new ProviderError('unavailable', 'unable to go on: cut', { retryAfterMs: 7_000 }));
    const failed = await snapshotWhen(answer, (s) => s.status === 'failed');
    expect(failed.text).toBe('Where a');
    expect(failed.error).toBeInstanceOf(StreamError);
    expect(failed.error).toMatchObject({
      code: 'provider_unavailable',
      retryable: true,
      retryAfterMs: 7_000,
      partialText: 'Where a',
    });
    await expect(answer.result).rejects.toBe(failed.error);
  });

  it('begins its text again with a second attempt, and says why', async () => {
    const [first, second] = [stage('api'), stage('local')];
    const deadlines = { firstChunkMs: 60_000, stallMs: 60_000, totalMs: 60_000 };
    const { url } = await startServer(first.provider, {
      providers: [
        { provider: first.provider, deadlines },
        { provider: second.provider, deadlines },
      ],
    });
    const answer = sdk(url).start(ASK);
    const api = await first.nextCall();
    api.say('Lon');
    await snapshotWhen(answer, (s) => s.text === 'Lon');
    api.fail(new ProviderError('unavailable', 'unable to go on: cut'));
    const local = await second.nextCall();
    local.say('Paris');
    local.finish();
    expect(await answer.result).toMatchObject({
      text: 'Paris',
      attempt: 2,
      provider: 'local',
      restartReason: 'unable to go on: cut',
    });
  });

  it.each([
    ['blank', ' '],
    ['longer than a message may be', 'x'.repeat(2_000_000)],
  ])('refuses a query that is %s without losing the connection', async (_, query) => {
    const { client, nextCall } = await staged();
    const running = client.start(ASK);
    const call = await nextCall();
    await expect(client.start({ query }).result).rejects.toMatchObject({ code: 'bad_request' });
    call.say('still here');
    call.finish();
    expect(await running.result).toMatchObject({ text: 'still here' });
  });

  it('ends as cancelled when its client is closed, as does one that is asked for later', async () => {
    const { client, nextCall } = await staged();
    const answer = client.start(ASK);
    await nextCall();
    client.close();
    expect((await answer.result).status).toBe('cancelled');
    expect((await client.start(ASK).result).status).toBe('cancelled');
  });
});

describe('what a caller may give', () => {
  it('takes a history and an intent that are the proxies of a framework', async () => {
    const { client, nextCall } = await staged();
    const reactive = <T extends object>(value: T): T => new Proxy(value, {});
    client.start({
      ...ASK,
      context: reactive([reactive({ role: 'user' as const, content: 'Hello' })]),
      intent: reactive({ name: 'geography', parameters: reactive({ unit: 'river' }) }),
    });
    const { prompt } = await nextCall();
    expect(prompt.messages[0]).toEqual({ role: 'user', text: 'Hello' });
    expect(prompt.messages[1]).toMatchObject({
      intent: '{"name":"geography","parameters":{"unit":"river"}}',
    });
  });

  it.each([
    ['nobody', undefined, 2],
    ['its user alone', 'ada', 1],
  ])('keeps an answer for %s, where users have tokens', async (_, namespace, asked) => {
    const { provider, calls, nextCall } = stage();
    const { url } = await startServer(provider, { env: { LLM_CACHE_ENABLED: 'false' } });
    const cache = namespace === undefined ? {} : { namespace };
    const client = sdk(url, { auth: () => 'a token', cache });
    for (let i = 0; i < 2; i++) {
      const { result } = client.start(ASK);
      if (i < asked) {
        const call = await nextCall();
        call.say('It ends.');
        call.finish();
      }
      expect(await result).toMatchObject({ text: 'It ends.' });
    }
    expect(calls).toHaveLength(asked);
  });

  it('fails on a question that is none', async () => {
    const { client } = await staged();
    const nothing = undefined as unknown as string;
    await expect(client.start({ query: nothing }).result).rejects.toMatchObject({
      code: 'bad_request',
    });
  });

  it('waits for a token that cannot be had yet', async () => {
    const { server, nextCall } = await staged();
    let tries = 0;
    const auth = (): string => {
      if (++tries < 3) throw new Error('no session');
      return 'a token';
    };
    const answer = sdk(server.url, { auth }).start(ASK);
    await snapshotWhen(answer, (s) => s.status === 'reconnecting');
    expect((await nextCall()).prompt.messages).toHaveLength(1);
    expect(tries).toBe(3);
  });

  it('is told by connection$ that a client is closed, however late it asks', async () => {
    const { client } = await staged();
    client.close();
    expect(await firstValueFrom(client.connection$)).toEqual({ status: 'closed' });
  });
});

describe('a long answer', () => {
  it('comes whole though it is many times the window', async () => {
    const { client, nextCall } = await staged();
    const answer = client.start(ASK);
    const call = await nextCall();
    const whole = 'The river carries silt 🪨 to the sea. '.repeat(20_000);
    call.say(whole);
    call.finish();
    const { text: received } = await answer.result;
    expect(received.length).toBe(whole.length);
    expect(received === whole).toBe(true);
  });

  it('is read beside others on one connection, none waiting for another to end', async () => {
    const { client, nextCall } = await staged();
    const answers = Array.from({ length: 20 }, (_, i) => client.start({ query: `${i}` }));
    const calls = [];
    for (const _ of answers) calls.push(await nextCall());
    for (const call of calls) call.say('a'.repeat(50_000));
    await Promise.all(answers.map((a) => snapshotWhen(a, (s) => s.text.length > 0)));
    for (const call of calls) call.finish();
    const done = await Promise.all(answers.map((a) => a.result));
    expect(done.every((s) => s.text.length === 50_000)).toBe(true);
  });
});

describe('events$', () => {
  it('gives who subscribes in the middle what came before as one text', async () => {
    const { client, nextCall } = await staged();
    const answer = client.start(ASK);
    const call = await nextCall();
    call.say('Where');
    await snapshotWhen(answer, (s) => s.text === 'Where');
    call.say(' it');
    await snapshotWhen(answer, (s) => s.text === 'Where it');
    const replayed = await firstValueFrom(answer.events$.pipe(take(2), toArray()));
    expect(replayed).toMatchObject([{ type: 'start' }, { type: 'text', text: 'Where it' }]);
  });
});
