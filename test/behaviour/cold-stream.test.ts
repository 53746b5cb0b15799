import { type AnswerRequest, text } from '@rivulet/client';
import { ProviderError, questionOf } from '@rivulet/server';
import { firstValueFrom, lastValueFrom, retry, Subject, switchMap } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { staged } from '../harness/sdk.js';

const ASK: AnswerRequest = { query: 'What is a delta?' };

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
    const { client, nextCall } = await staged({ limits: { detachTimeoutMs: 10 } });
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
    const { client, calls, nextCall } = await staged({ limits: { detachTimeoutMs: 0 } });
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
    const shown = firstValueFrom(answer$);
    (await nextCall()).say('Where');
    await shown;
    await server.close();
    expect(await failure).toMatchObject({ code: 'interrupted' });
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
    const { client, nextCall } = await staged({ limits: { detachTimeoutMs: 0 } });
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
