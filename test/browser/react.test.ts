import type { Answer, Client } from '@rivulet/client';
import { type AnswerState, useAnswer, useConnection } from '@rivulet/client/react';
import { createMockClient, type Script } from '@rivulet/client/testing';
import { Activity, createElement, type ReactElement, StrictMode, useState } from 'react';
import { flushSync } from 'react-dom';
import { createRoot, type Root } from 'react-dom/client';
import { BehaviorSubject } from 'rxjs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';

const SCRIPT: Script = [
  { type: 'text', text: 'Where', afterMs: 20 },
  { type: 'text', text: ' it ends.', afterMs: 1_000 },
  { type: 'end', afterMs: 20 },
];

function mount(): Root {
  const target = document.createElement('div');
  document.body.append(target);
  const root = createRoot(target);
  onTestFinished(() => {
    root.unmount();
    target.remove();
  });
  return root;
}

const until = (read: () => AnswerState | undefined, status: string): Promise<void> =>
  vi.waitFor(() => expect(read()?.status).toBe(status));

describe('useAnswer', () => {
  it('keeps an answer while an <Activity> hides its view, to the end', async () => {
    const client = createMockClient(SCRIPT);
    let state: AnswerState | undefined;
    let ask: ((question: string) => Answer | undefined) | undefined;
    function View(): null {
      const answer = useAnswer(client);
      state = answer.state;
      ask = answer.ask;
      return null;
    }
    const root = mount();
    const draw = (mode: 'visible' | 'hidden'): void =>
      flushSync(() =>
        root.render(
          createElement(
            StrictMode,
            null,
            createElement(Activity, { mode, children: createElement(View) }),
          ),
        ),
      );
    draw('visible');
    await vi.waitFor(() => expect(ask).toBeDefined());
    const answer = ask?.('What is a delta?');
    await until(() => state, 'streaming');
    draw('hidden');
    expect(await answer?.result).toMatchObject({ status: 'done', text: 'Where it ends.' });
    draw('visible');
    await until(() => state, 'done');
    expect(state?.text).toBe('Where it ends.');
  });

  it('shows an answer that was started elsewhere, and the next one that it is given', async () => {
    const client = createMockClient(SCRIPT);
    const [first, second] = [client.start({ query: 'one' }), client.start({ query: 'two' })];
    const seen = new Set<string>();
    let give: ((answer: Answer) => void) | undefined;
    let state: AnswerState | undefined;
    function View(): null {
      const [answer, setAnswer] = useState<Answer>(first);
      give = setAnswer;
      state = useAnswer(client, { answer }).state;
      seen.add(state.query);
      return null;
    }
    mount().render(createElement(StrictMode, null, createElement(View)));
    await until(() => state, 'streaming');
    give?.(second);
    await vi.waitFor(() => expect(state?.query).toBe('two'));
    await until(() => state, 'done');
    expect([...seen]).toEqual(['one', 'two']);
    expect(await first.result).toMatchObject({ status: 'done' });
  });

  it('says that a client is made inside of a component, and only then', async () => {
    const complain = vi.spyOn(console, 'error').mockImplementation(() => {});
    onTestFinished(() => complain.mockRestore());
    let renderAgain: ((count: number) => void) | undefined;
    function View({ make }: { make: () => Client }): ReactElement {
      const [count, setCount] = useState(0);
      renderAgain = setCount;
      useAnswer(make());
      return createElement('output', null, count);
    }
    const own = createMockClient([]);
    const root = mount();
    const render = async (make: () => Client): Promise<void> => {
      flushSync(() => root.render(createElement(View, { make })));
      await vi.waitFor(() => expect(renderAgain).toBeDefined());
      for (const count of [1, 2]) flushSync(() => renderAgain?.(count));
      flushSync(() => renderAgain?.(0));
    };
    await render(() => own);
    // A user who logs in has another client, once.
    const next = createMockClient([]);
    await render(() => next);
    expect(complain).not.toHaveBeenCalled();
    await render(() => createMockClient([]));
    expect(complain.mock.calls.join()).toContain('outside of the component');
  });
});

describe('useConnection', () => {
  it('is the state of the connection', async () => {
    const connection$ = new BehaviorSubject<{ status: 'connecting' | 'connected' }>({
      status: 'connecting',
    });
    const client = createMockClient([], { connection$ });
    const seen: string[] = [];
    function View(): null {
      seen.push(useConnection(client).status);
      return null;
    }
    mount().render(createElement(View));
    await vi.waitFor(() => expect(seen.at(-1)).toBe('connecting'));
    connection$.next({ status: 'connected' });
    await vi.waitFor(() => expect(seen.at(-1)).toBe('connected'));
    client.close();
    await vi.waitFor(() => expect(seen.at(-1)).toBe('closed'));
  });
});
