import { createMockClient, type Script } from '@rivulet/client/testing';
import { filter, firstValueFrom, map, timer } from 'rxjs';
import { questionOf } from '@rivulet/server';
import { describe, expect, it } from 'vitest';
import { createAnswerController } from '../../packages/client/src/bindings/answer-controller.js';
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
): void {
  virtual((helpers) => {
    const asked: string[] = [];
    const client = createMockClient(({ query }) => {
      asked.push(query);
      return script;
    });
    test(createAnswerController(client), asked, helpers);
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

  it('leaves its answer when it is unmounted, and reads on when it is back in time', () => {
    play(SCRIPT, (asker, asked, { flush }) => {
      asker.actions.ask('q');
      const mounted = asker.state$.subscribe();
      timer(500).subscribe(() => mounted.unsubscribe());
      timer(2_400).subscribe(() => asker.state$.subscribe());
      flush();
      expect(asked).toEqual(['q']);
      expect(asker.getSnapshot()).toMatchObject({ status: 'done', text: 'Where it ends.' });
    });
  });

  it('finds its answer cancelled when it is back too late, and can ask again', () => {
    play(SCRIPT, (asker, asked, { flush }) => {
      asker.actions.ask('q');
      const mounted = asker.state$.subscribe();
      timer(500).subscribe(() => mounted.unsubscribe());
      timer(2_600).subscribe(() => {
        asker.state$.subscribe();
        expect(asker.getSnapshot()).toMatchObject({ status: 'cancelled', text: 'Where' });
        asker.actions.retry();
      });
      flush();
      expect(asked).toEqual(['q', 'q']);
      expect(asker.getSnapshot()).toMatchObject({ status: 'done' });
    });
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

  it('goes on with an answer that another page of its user has asked, and asks it again', async () => {
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
    asker.actions.retry();
    expect(questionOf((await nextCall()).prompt)).toBe('What is a delta?');
    subscription.unsubscribe();
  });
});
