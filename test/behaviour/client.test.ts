import { type Ask, StreamError, text } from '@rivulet/client';
import { ProviderError, questionOf } from '@rivulet/server';
import {
  filter,
  firstValueFrom,
  lastValueFrom,
  retry,
  Subject,
  switchMap,
  take,
  toArray,
} from 'rxjs';
import { Server } from 'socket.io';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { cuttableLink } from '../harness/link.js';
import { startServer } from '../harness/rivulet.js';
import { sdk, snapshotWhen } from '../harness/sdk.js';
import { stage } from '../harness/stage.js';

const ASK: Ask = { query: 'What is a delta?' };

async function staged(options?: Parameters<typeof startServer>[1]) {
  const { provider, calls, nextCall } = stage();
  const server = await startServer(provider, options);
  return { server, client: sdk(server.url), calls, nextCall };
}

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
      route: [
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

describe('an answer as a cold Observable', () => {
  it('asks when it is subscribed to, and not before', async () => {
    const { client, calls, nextCall } = await staged();
    const answer$ = client.stream(ASK);
    expect(calls).toHaveLength(0);
    const whole = lastValueFrom(answer$.pipe(text()));
    const call = await nextCall();
    call.say('Where');
    call.say(' it ends.');
    call.finish();
    expect(await whole).toBe('Where it ends.');
    // Complete: whoever subscribes now has it, and nobody is asked.
    expect(await lastValueFrom(answer$.pipe(text()))).toBe('Where it ends.');
    expect(calls).toHaveLength(1);
  });

  it('detaches when it is unsubscribed from, and the stream ends', async () => {
    const { client, nextCall } = await staged({ bounds: { detachGraceMs: 10 } });
    const subscription = client.stream(ASK).subscribe();
    const call = await nextCall();
    subscription.unsubscribe();
    await expect(call.aborted).resolves.toBeUndefined();
  });

  it('attaches to the same answer when it is mounted twice, as StrictMode does', async () => {
    const { client, calls, nextCall } = await staged();
    const answer$ = client.stream(ASK);
    answer$.subscribe().unsubscribe();
    const first = answer$.subscribe();
    const call = await nextCall();
    call.say('Where');
    first.unsubscribe();
    const whole = lastValueFrom(answer$.pipe(text()));
    call.say(' it ends.');
    call.finish();
    expect(await whole).toBe('Where it ends.');
    expect(calls).toHaveLength(1);
  });

  it('asks anew when all had left it for longer than the server keeps it', async () => {
    const { client, calls, nextCall } = await staged({ bounds: { detachGraceMs: 0 } });
    const answer$ = client.stream(ASK);
    const first = answer$.subscribe();
    const left = await nextCall();
    left.say('Where');
    first.unsubscribe();
    await left.aborted;
    const whole = lastValueFrom(answer$.pipe(text()));
    const call = await nextCall();
    call.say('It ends.');
    call.finish();
    expect(await whole).toBe('It ends.');
    expect(calls).toHaveLength(2);
  });

  it('errors when it is lost, and is not asked again, though it was mounted twice', async () => {
    const { client, server, calls, nextCall } = await staged();
    const answer$ = client.stream(ASK);
    answer$.subscribe().unsubscribe();
    const failure = lastValueFrom(answer$).catch((error: unknown) => error);
    (await nextCall()).say('Where');
    await server.close();
    expect(await failure).toMatchObject({ code: 'producer_lost' });
    expect(calls).toHaveLength(1);
  });

  it('errors with a StreamError, and `retry` is a new attempt', async () => {
    const { client, nextCall } = await staged();
    const whole = lastValueFrom(client.stream(ASK).pipe(retry(1), text()));
    (await nextCall()).fail(new ProviderError('unavailable', 'unable to reach it'));
    const call = await nextCall();
    call.say('It ends.');
    call.finish();
    expect(await whole).toBe('It ends.');
  });

  it('drops the answer to the last letter when the next one is typed', async () => {
    const { client, nextCall } = await staged({ bounds: { detachGraceMs: 0 } });
    const typed = new Subject<string>();
    const whole = lastValueFrom(
      typed.pipe(switchMap((query) => client.stream({ query }).pipe(text()))),
    );
    typed.next('d');
    const first = await nextCall();
    typed.next('de');
    typed.complete();
    const second = await nextCall();
    expect(questionOf(second.prompt)).toBe('de');
    await first.aborted;
    second.say('delta');
    second.finish();
    expect(await whole).toBe('delta');
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
    expect(prompt.system).toContain('unit: river');
  });

  it('asks without a token where `auth` throws', async () => {
    const { server, nextCall } = await staged();
    const auth = (): never => {
      throw new Error('no session');
    };
    sdk(server.url, { auth }).start(ASK);
    expect((await nextCall()).prompt.messages).toHaveLength(1);
  });

  it('is told by connection$ that a client is closed, however late it asks', async () => {
    const { client } = await staged();
    client.close();
    expect(await firstValueFrom(client.connection$)).toBe('closed');
  });
});

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
    const { server, nextCall } = await staged({ bounds: { detachGraceMs: 0 } });
    const link = await cuttableLink(server.url);
    const client = sdk(link.url);
    const subscription = client.stream(ASK).subscribe();
    const call = await nextCall();
    link.down();
    await firstValueFrom(client.connection$.pipe(filter((s) => s === 'reconnecting')));
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

  it('to a server that restarted ends what was shown as `producer_lost`, with its text', async () => {
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
      error: { code: 'producer_lost', retryable: true },
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
    const seen: string[] = [];
    sdk(`http://127.0.0.1:${port}`).connection$.subscribe((status) => seen.push(status));
    await vi.waitFor(() =>
      expect(seen).toEqual(['connecting', 'online', 'reconnecting', 'online']),
    );
  });

  it('shows in connection$, which connects when it is subscribed to', async () => {
    const { server } = await staged();
    const link = await cuttableLink(server.url);
    const client = sdk(link.url);
    const seen: string[] = [];
    client.connection$.subscribe((status) => seen.push(status));
    await vi.waitFor(() => expect(seen).toEqual(['connecting', 'online']));
    link.cut();
    await vi.waitFor(() =>
      expect(seen).toEqual(['connecting', 'online', 'reconnecting', 'online']),
    );
    client.close();
    expect(seen.at(-1)).toBe('closed');
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
