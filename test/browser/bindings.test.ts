import type { AnswerRequest, Client, ConnectionState } from '@rivulet/client';
import type { AnswerActions, UseAnswerOptions } from '@rivulet/client/react';
import { createMockClient, type Script } from '@rivulet/client/testing';
import { BehaviorSubject } from 'rxjs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { VIEWS } from './views/views.js';

const script = (restAfterMs: number): Script => [
  { type: 'text', text: 'Where', afterMs: 20 },
  { type: 'text', text: ' it ends.', afterMs: restAfterMs },
  { type: 'end', afterMs: 20 },
];
const SCRIPT = script(20);
/** For a test that has to see the first word alone. */
const SLOW_SCRIPT = script(1_000);
const FAILURE: Script = [
  { type: 'text', text: 'Where', afterMs: 20 },
  { type: 'error', code: 'interrupted' },
];

/** A client whose answers follow `scripts`, one after the other, and what it was asked. */
function scripted(...scripts: Script[]): { client: Client; asked: AnswerRequest[] } {
  const asked: AnswerRequest[] = [];
  const client = createMockClient((request) => {
    asked.push(request);
    return scripts[asked.length - 1] ?? SCRIPT;
  });
  return { client, asked };
}

describe.each(Object.entries(VIEWS))('a view in %s', (_, mount) => {
  /** Mounts the view of `client`, which is connected unless `connection` is another status. */
  async function show(client: Client, options: UseAnswerOptions = {}, connection = 'connected') {
    const target = document.createElement('div');
    document.body.append(target);
    let actions: AnswerActions | undefined;
    const take = mount(target, { client, options, ready: (ready) => (actions = ready) });
    let taken: Promise<void> | undefined;
    const unmount = (): Promise<void> => (taken ??= Promise.resolve(take()));
    onTestFinished(async () => {
      await unmount();
      target.remove();
    });
    const textOf = (tag: 'output' | 'i') => target.querySelector(tag)?.textContent;
    const shows = (tag: 'output' | 'i', text: string): Promise<void> =>
      vi.waitFor(() => expect(textOf(tag)).toBe(text));
    // The state of the connection is read once the view is mounted.
    await shows('i', connection);
    return { ...actions!, unmount, shows, textOf };
  }

  it('cancels its answer when it is unmounted, if it is told to', async () => {
    const { client } = scripted(SLOW_SCRIPT);
    const { ask, unmount, shows } = await show(client, { onUnmount: 'cancel' });
    const answer = ask('What is a delta?');
    await shows('output', 'streaming: Where');
    await unmount();
    expect(await answer?.result).toMatchObject({ status: 'cancelled', text: 'Where' });
  });

  it('leaves its answer alone when it is unmounted, unless it is told otherwise', async () => {
    const { client } = scripted(SLOW_SCRIPT);
    const { ask, unmount, shows } = await show(client);
    const answer = ask('What is a delta?');
    await shows('output', 'streaming: Where');
    await unmount();
    expect(await answer?.result).toMatchObject({ status: 'done', text: 'Where it ends.' });
  });

  it('releases its answer when it asks the next question', async () => {
    const { client, asked } = scripted(SLOW_SCRIPT);
    const { ask, shows } = await show(client);
    const first = ask('one');
    await shows('output', 'streaming: Where');
    const second = ask('two');
    expect(await first?.result).toMatchObject({ status: 'released', text: 'Where' });
    await shows('output', 'done: Where it ends.');
    expect(second?.getSnapshot()).toMatchObject({ query: 'two', status: 'done' });
    expect(asked.map(({ query }) => query)).toEqual(['one', 'two']);
  });

  it('shows an answer that was started elsewhere, and leaves it to its owner', async () => {
    const { client, asked } = scripted([{ type: 'text', text: 'Elsewhere' }]);
    const answer = client.start({ query: 'elsewhere' });
    const { ask, shows } = await show(client, { answer });
    await shows('output', 'streaming: Elsewhere');
    ask('here');
    await shows('output', 'done: Where it ends.');
    expect(answer.getSnapshot().status).toBe('streaming');
    expect(asked).toHaveLength(2);
  });

  it('shows another answer that it is given later', async () => {
    const { client, asked } = scripted(SLOW_SCRIPT, [{ type: 'text', text: 'Elsewhere' }]);
    const view = await show(client);
    const first = view.ask('here');
    await view.shows('output', 'streaming: Where');
    const answer = client.start({ query: 'elsewhere' });
    view.show(answer);
    await view.shows('output', 'streaming: Elsewhere');
    expect(first?.getSnapshot().status).toBe('released');
    view.ask('again');
    await view.shows('output', 'done: Where it ends.');
    expect(answer.getSnapshot().status).toBe('streaming');
    expect(asked).toHaveLength(3);
  });

  it('asks again what failed', async () => {
    const { client, asked } = scripted(FAILURE);
    const { ask, retry, shows } = await show(client);
    ask({ query: 'What is a delta?', options: { seed: 1 } });
    await shows('output', 'failed: Where');
    retry();
    await shows('output', 'done: Where it ends.');
    expect(asked).toHaveLength(2);
    expect(asked[1]).toMatchObject({ query: 'What is a delta?', options: { seed: 1 } });
  });

  it('asks the model again, past the caches', async () => {
    const { client, asked } = scripted(SCRIPT, SLOW_SCRIPT);
    const { ask, regenerate, shows } = await show(client);
    ask({ query: 'What is a delta?', options: { seed: 1 } });
    await shows('output', 'done: Where it ends.');
    regenerate();
    await shows('output', 'streaming: Where');
    await shows('output', 'done: Where it ends.');
    expect(asked).toHaveLength(2);
    expect(asked[1]?.options).toEqual({ seed: 1, cache: 'reload' });
  });

  it('shows the state of the connection', async () => {
    const connection$ = new BehaviorSubject<ConnectionState>({ status: 'connecting' });
    const client = createMockClient([], { connection$ });
    const { shows, textOf } = await show(client, {}, 'connecting');
    connection$.next({ status: 'connected' });
    await shows('i', 'connected');
    client.close();
    await shows('i', 'closed');
    expect(textOf('output')).toBe('idle: ');
  });
});
