import { type AnswerSnapshot, createClient, type ResponseEvent } from '@rivulet/client';
import { firstValueFrom, map, retry, take, tap, toArray } from 'rxjs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { sdk, snapshotWhen, staged } from '../harness/sdk.js';

const ME = { authenticate: () => ({ principal: 'ada' }) };
const ASK = { query: 'What is a delta?' };

const textIs =
  (text: string) =>
  (snapshot: AnswerSnapshot): boolean =>
    snapshot.text === text;

describe('handles of one answer', () => {
  it('all read to the end, and the model is called once, also when they are made in one turn', async () => {
    const { client, calls, nextCall } = await staged(ME);
    const started = client.start(ASK);
    const handles = [started, client.resume(started.id), client.resume(started.id)];
    const call = await nextCall();
    call.say('Where');
    await Promise.all(handles.map((handle) => snapshotWhen(handle, textIs('Where'))));
    handles.push(client.resume(started.id));
    call.say(' it ends.');
    call.finish();
    const results = await Promise.all(handles.map(({ result }) => result));
    for (const result of results)
      expect(result).toMatchObject({ status: 'done', text: 'Where it ends.' });
    expect(calls).toHaveLength(1);
  });

  it('go on when one of them is released', async () => {
    const { client, nextCall } = await staged({ ...ME, limits: { detachTimeoutMs: 0 } });
    const first = client.start(ASK);
    const call = await nextCall();
    call.say('Where');
    const second = client.resume(first.id);
    await snapshotWhen(second, textIs('Where'));
    first.release();
    expect(first.getSnapshot()).toMatchObject({ status: 'released', text: 'Where' });
    expect(await first.result).toMatchObject({ status: 'released', text: 'Where' });
    call.say(' it ends.');
    call.finish();
    expect(await second.result).toMatchObject({ status: 'done', text: 'Where it ends.' });
    expect(first.getSnapshot()).toMatchObject({ status: 'released', text: 'Where' });
  });

  it('tell the server when the last one is released, and only then', async () => {
    const { client, nextCall } = await staged({ ...ME, limits: { detachTimeoutMs: 0 } });
    const first = client.start(ASK);
    const second = client.resume(first.id);
    const call = await nextCall();
    let isAborted = false;
    void call.aborted.then(() => (isAborted = true));
    first.release();
    call.say('Where');
    await snapshotWhen(second, textIs('Where'));
    expect(isAborted).toBe(false);
    second.release();
    await call.aborted;
  });

  it('complete their Observables when they are released, without an end', async () => {
    const { client, nextCall } = await staged(ME);
    const answer = client.start(ASK);
    const events = firstValueFrom(
      answer.events$.pipe(
        map(({ type }) => type),
        toArray(),
      ),
    );
    const statuses = firstValueFrom(
      answer.state$.pipe(
        map(({ status }) => status),
        toArray(),
      ),
    );
    const read: ResponseEvent['type'][] = [];
    const loop = (async () => {
      for await (const { type } of answer) read.push(type);
    })();
    (await nextCall()).say('Where');
    await snapshotWhen(answer, textIs('Where'));
    answer.release();
    expect(await events).toEqual(['start', 'text']);
    expect((await statuses).at(-1)).toBe('released');
    await loop;
    expect(read).toEqual(['start', 'text']);
  });

  it('cancel the answer for all', async () => {
    const { client, nextCall } = await staged(ME);
    const first = client.start(ASK);
    const second = client.resume(first.id);
    const released = client.resume(first.id);
    released.release();
    released.cancel();
    const call = await nextCall();
    call.say('Where');
    await snapshotWhen(second, textIs('Where'));
    second.cancel();
    await call.aborted;
    expect((await first.result).status).toBe('cancelled');
  });

  it('give each subscriber each event in order, though one of them cancels within an event', async () => {
    const { client, nextCall } = await staged(ME);
    const first = client.start(ASK);
    const second = client.resume(first.id);
    const seen: string[] = [];
    first.events$.subscribe({
      next: ({ type }) => type === 'text' && first.cancel(),
      error: () => seen.push('first: error'),
    });
    const note = (name: string) => ({
      next: ({ type }: ResponseEvent) => void seen.push(`${name}: ${type}`),
      error: () => void seen.push(`${name}: error`),
    });
    first.events$.subscribe(note('beside'));
    second.events$.subscribe(note('second'));
    (await nextCall()).say('Where');
    await first.result;
    expect(seen.filter((entry) => !entry.startsWith('first'))).toEqual([
      'beside: start',
      'second: start',
      'beside: text',
      'second: text',
      'beside: error',
      'second: error',
    ]);
  });

  it('have what was asked, without its signal', async () => {
    const { client, server } = await staged(ME);
    const context = [{ role: 'user', content: 'My name is Ada' }] as const;
    const { signal } = new AbortController();
    const options = { temperature: 0.1, seed: 7 };
    const answer = client.start({ ...ASK, context, options: { ...options, signal } });
    expect(answer.request).toEqual({ ...ASK, context, options });
    expect(client.resume(answer.id).request).toEqual(answer.request);
    expect(sdk(server.url).resume(answer.id).request).toBeUndefined();
  });
});

describe('a client that is closed', () => {
  it('tells the server, which ends what nobody else reads', async () => {
    const { server, nextCall } = await staged({ ...ME, limits: { detachTimeoutMs: 0 } });
    const client = createClient({ url: server.url, cache: false });
    const [alone, shared] = [client.start({ query: 'alone' }), client.start({ query: 'shared' })];
    const calls = [await nextCall(), await nextCall()];
    for (const call of calls) call.say('Where');
    const other = sdk(server.url).resume(shared.id);
    await snapshotWhen(other, textIs('Where'));
    await snapshotWhen(alone, textIs('Where'));
    client.close();
    expect((await alone.result).status).toBe('cancelled');
    await calls[0]!.aborted;
    calls[1]!.say(' it ends.');
    calls[1]!.finish();
    expect(await other.result).toMatchObject({ status: 'done', text: 'Where it ends.' });
  });
});

describe('a stream', () => {
  it('is cancelled by the last to unsubscribe, if it is to be', async () => {
    // A stream that was only left would not end before the test does.
    const { client, nextCall } = await staged({ ...ME, limits: { detachTimeoutMs: 60_000 } });
    const options = { onUnsubscribe: 'cancel' } as const;
    const stream$ = client.stream({ ...ASK, options });
    const text = firstValueFrom(stream$.pipe(take(2), toArray()));
    const call = await nextCall();
    call.say('Where');
    expect(await text).toHaveLength(2);
    await call.aborted;
  });

  it.each([
    ['an aborted signal', { ...ASK, options: { signal: AbortSignal.abort() } }],
    ['a blank question', { query: ' ' }],
  ])('with %s does not overflow the stack of `retry()`', async (_, ask) => {
    const { client } = await staged(ME);
    let failures = 0;
    const subscription = client
      .stream(ask)
      .pipe(tap({ error: () => (failures += 1) }), retry())
      .subscribe();
    expect(failures).toBe(0);
    await vi.waitFor(() => expect(failures).toBeGreaterThan(3));
    subscription.unsubscribe();
  });

  it('that is read on long after it was left still ends with its signal', async () => {
    const { client, calls, nextCall } = await staged({
      ...ME,
      limits: { detachTimeoutMs: 60_000 },
    });
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const controller = new AbortController();
    const stream$ = client.stream({ ...ASK, options: { signal: controller.signal } });
    const first = stream$.subscribe();
    const call = await nextCall();
    first.unsubscribe();
    vi.advanceTimersByTime(6_000);
    vi.useRealTimers();
    stream$.subscribe({ error: () => {} });
    controller.abort();
    await call.aborted;
    expect(calls).toHaveLength(1);
  });
});
