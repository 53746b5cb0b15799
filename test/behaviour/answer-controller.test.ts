import type { AnswerRequest } from '@rivulet/client';
import { createMockClient, type Script } from '@rivulet/client/testing';
import { filter, firstValueFrom, map, timer } from 'rxjs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import * as z from 'zod';
import {
  createAnswerController,
  type UseAnswerOptions,
} from '../../packages/client/src/bindings/answer-controller.js';
import { sdk, staged } from '../harness/sdk.js';
import { virtual } from '../harness/virtual.js';

const SCRIPT: Script = [
  { type: 'text', text: 'Where', afterMs: 100 },
  { type: 'text', text: ' it ends.', afterMs: 3_000 },
  { type: 'end', afterMs: 100 },
];

type Helpers = Parameters<Parameters<typeof virtual>[0]>[0];

/** An asker in virtual time; `asked` has every question that went out. */
function play(
  script: Script,
  test: (
    asker: ReturnType<typeof createAnswerController>,
    asked: string[],
    helpers: Helpers,
  ) => void,
  options?: UseAnswerOptions,
): void {
  virtual((helpers) => {
    const asked: string[] = [];
    const client = createMockClient(({ query }) => {
      asked.push(query);
      return script;
    });
    test(createAnswerController(client, options), asked, helpers);
  });
}

const words = map(({ status, text }: { status: string; text: string }) => `${status}: ${text}`);

describe('a view that asks', () => {
  it('is idle, then follows its answer to the end', () => {
    play(SCRIPT, (asker, asked, { expectObservable, flush }) => {
      timer(10).subscribe(() => asker.actions.ask('q'));
      expectObservable(asker.state$.pipe(words)).toBe('a 9ms b 99ms c 2999ms d 99ms e', {
        a: 'idle: ',
        b: 'waiting: ',
        c: 'streaming: Where',
        d: 'streaming: Where it ends.',
        e: 'done: Where it ends.',
      });
      flush();
      expect(asked).toEqual(['q']);
    });
  });

  it('asks once when it is mounted twice, as StrictMode does', () => {
    play(SCRIPT, (asker, asked, { flush }) => {
      asker.actions.ask('q');
      asker.state$.subscribe().unsubscribe();
      asker.state$.subscribe();
      flush();
      expect(asked).toEqual(['q']);
      expect(asker.getSnapshot()).toMatchObject({ status: 'done', text: 'Where it ends.' });
    });
  });

  it('keeps its answer while it is unmounted', () => {
    play(SCRIPT, (asker, asked, { flush }) => {
      asker.actions.ask('q');
      const mounted = asker.state$.subscribe();
      timer(500).subscribe(() => mounted.unsubscribe());
      timer(9_000).subscribe(() => asker.state$.subscribe());
      flush();
      expect(asked).toEqual(['q']);
      expect(asker.getSnapshot()).toMatchObject({ status: 'done', text: 'Where it ends.' });
    });
  });

  it('cancels its answer when it is unmounted, if it is told to, and not when it is mounted twice', () => {
    play(
      SCRIPT,
      (asker, asked, { flush }) => {
        asker.actions.ask('q');
        asker.state$.subscribe().unsubscribe();
        const mounted = asker.state$.subscribe();
        timer(500).subscribe(() => mounted.unsubscribe());
        timer(9_000).subscribe(() => asker.state$.subscribe());
        flush();
        expect(asked).toEqual(['q']);
        expect(asker.getSnapshot()).toMatchObject({ status: 'cancelled', text: 'Where' });
      },
      { onUnmount: 'cancel' },
    );
  });

  it('releases an answer when it asks the next', () => {
    play(SCRIPT, (asker, asked, { flush }) => {
      asker.state$.subscribe();
      const first = asker.actions.ask('a');
      const second = asker.actions.ask('b');
      expect(first?.getSnapshot().status).toBe('released');
      flush();
      expect(asked).toEqual(['a', 'b']);
      expect(second?.getSnapshot().status).toBe('done');
      expect(asker.getSnapshot()).toBe(second?.getSnapshot());
    });
  });

  it('shows an answer of somebody else, and leaves its handle alone', () => {
    virtual(({ flush }) => {
      const client = createMockClient(SCRIPT);
      const answer = client.start({ query: 'q' });
      const asker = createAnswerController(client, { answer });
      expect(asker.getSnapshot()).toMatchObject({ query: 'q', status: 'waiting' });
      asker.state$.subscribe();
      timer(500).subscribe(() => asker.actions.ask('other'));
      flush();
      expect(answer.getSnapshot()).toMatchObject({ status: 'done', text: 'Where it ends.' });
      expect(asker.getSnapshot()).toMatchObject({ status: 'done', query: 'other' });
      asker.actions.show(answer);
      flush();
      expect(asker.getSnapshot()).toBe(answer.getSnapshot());
    });
  });

  it('asks again all that was asked, and past both caches if it is to', () => {
    virtual(({ flush }) => {
      const requests: AnswerRequest[] = [];
      const client = createMockClient((request) => {
        requests.push(request);
        return SCRIPT;
      });
      const asker = createAnswerController(client);
      asker.state$.subscribe();
      const context = [{ role: 'user', content: 'My name is Ada' }] as const;
      const { signal } = new AbortController();
      asker.actions.ask({ query: 'q', context, sessionId: 's', options: { topK: 3, signal } });
      asker.actions.retry();
      asker.actions.regenerate();
      flush();
      const request = { query: 'q', context, sessionId: 's' };
      expect(requests.slice(1)).toEqual([
        { ...request, options: { topK: 3 } },
        { ...request, options: { topK: 3, cache: 'reload' } },
      ]);
    });
  });

  it('has the typed output of an answer that it asks for', async () => {
    const output = z.object({ city: z.string() });
    const client = createMockClient([{ type: 'text', text: '{"city":"Rome"}' }, { type: 'end' }]);
    const { state$, actions } = createAnswerController(client);
    const view = state$.subscribe();
    const answer = actions.ask({ query: 'Where?', output });
    expectTypeOf(answer!.output).resolves.toEqualTypeOf<{ city: string }>();
    expect(await answer!.output).toEqual({ city: 'Rome' });
    view.unsubscribe();
  });

  it('asks nothing before it is mounted, nor what was stopped before', () => {
    play(SCRIPT, (asker, asked, { flush }) => {
      asker.actions.ask('q');
      expect(asked).toEqual([]);
      expect(asker.getSnapshot().status).toBe('idle');
      asker.actions.stop();
      asker.state$.subscribe();
      flush();
      expect(asked).toEqual([]);
      expect(asker.getSnapshot().status).toBe('idle');
    });
  });

  it('has one answer for all that mount it', () => {
    play(SCRIPT, (asker, asked, { flush }) => {
      const seen: string[] = [];
      asker.state$.pipe(words).subscribe((state) => seen.push(state));
      asker.actions.ask('q');
      timer(200).subscribe(() => asker.state$.subscribe().unsubscribe());
      flush();
      expect(asked).toEqual(['q']);
      expect(seen).toEqual([
        'idle: ',
        'waiting: ',
        'streaming: Where',
        'streaming: Where it ends.',
        'done: Where it ends.',
      ]);
    });
  });

  it('gives the same object until it changes, and has the fields of a snapshot while it is idle', () => {
    play(SCRIPT, (asker, _, { flush }) => {
      const idle = asker.getSnapshot();
      expect(asker.getSnapshot()).toBe(idle);
      expect(Object.isFrozen(idle)).toBe(true);
      asker.state$.subscribe();
      asker.actions.ask('q');
      const waiting = asker.getSnapshot();
      expect(Object.keys(waiting)).toEqual(Object.keys(idle));
      flush();
    });
  });

  it('goes on with an answer that another page of its user has asked, and does not guess what was asked', async () => {
    const { server, nextCall } = await staged({ authenticate: () => ({ principal: 'ada' }) });
    const before = sdk(server.url).start({ query: 'What is a delta?' });
    (await nextCall()).say('Where');
    const client = sdk(server.url);
    const asker = createAnswerController(client);
    const stateWhen = (text: string, status: string) =>
      firstValueFrom(asker.state$.pipe(filter((s) => s.text === text && s.status === status)));
    const subscription = asker.state$.subscribe();
    const [running] = await firstValueFrom(client.active$);
    asker.actions.resume(running!.id);
    expect(await stateWhen('Where', 'streaming')).toMatchObject({ id: before.id });
    asker.actions.stop();
    await stateWhen('Where', 'cancelled');
    expect(await before.result).toMatchObject({ status: 'cancelled' });
    expect(() => asker.actions.retry()).toThrow(/knows only the id/);
    expect(() => asker.actions.regenerate()).toThrow(/knows only the id/);
    subscription.unsubscribe();
  });
});
