'use client';

import { useEffect, useMemo, useState, useSyncExternalStore } from 'react';
import type { Client, ConnectionState } from '../types.js';
import {
  type AnswerActions,
  type AnswerController,
  type AnswerState,
  createAnswerController,
  IDLE,
  type UseAnswerOptions,
} from './answer-controller.js';

export type { AnswerActions, AnswerState, Idle, UseAnswerOptions } from './answer-controller.js';

/** The state of a view's answer, and what the view can do; the actions are always the same functions. */
export interface UseAnswer extends AnswerActions {
  readonly state: AnswerState;
}

/**
 * Asks on behalf of a component. It renders at most once a frame, and asks nothing while it is rendered
 * on a server. Create the client outside of components. Another `options.answer` is shown as soon as it is
 * given; `options.onUnmount` is that of the first render.
 */
export function useAnswer(client: Client, options: UseAnswerOptions = {}): UseAnswer {
  const { state$, getSnapshot, actions } = useController(client, options);
  const subscribe = useMemo(
    () => (changed: () => void) => {
      const subscription = state$.subscribe(changed);
      return () => subscription.unsubscribe();
    },
    [state$],
  );
  const { answer } = options;
  const [given] = useState({ answer });
  useEffect(() => {
    // The effect also runs when a hidden view is shown again, which may show a later answer.
    if (given.answer === answer) return;
    given.answer = answer;
    if (answer !== undefined) actions.show(answer);
  }, [actions, answer, given]);
  const state = useSyncExternalStore(subscribe, getSnapshot, () => IDLE);
  return { state, ...actions };
}

/** The state of the client's connection. */
export function useConnection(client: Client): ConnectionState {
  const { subscribe, getSnapshot } = useMemo(() => {
    let newest: ConnectionState = { status: 'idle' };
    return {
      subscribe(changed: () => void) {
        const subscription = client.connection$.subscribe((next) => {
          newest = next;
          changed();
        });
        return () => subscription.unsubscribe();
      },
      getSnapshot: () => newest,
    };
  }, [client]);
  return useSyncExternalStore(subscribe, getSnapshot, getSnapshot);
}

/** The client's controller, which Fast Refresh keeps: it keeps state, and makes memos again. */
function useController(client: Client, options: UseAnswerOptions): AnswerController {
  const [held] = useState(() => ({
    client,
    controller: createAnswerController(client, options),
    /** True if the client of the render before was another one, too. */
    isNew: false,
  }));
  const isNew = held.client !== client;
  if (isNew) {
    if (held.isNew && isDevelopment()) {
      // oxlint-disable-next-line no-console -- for the developer, and in development alone
      console.error(
        'useAnswer: each render has another client, and so loses its answer. Create the client outside of the component.',
      );
    }
    held.client = client;
    held.controller = createAnswerController(client, options);
  }
  held.isNew = isNew;
  return held.controller;
}

declare const process: { env: { NODE_ENV?: string } };

/** Bundlers replace the expression; without one there is no `process` in a browser. */
function isDevelopment(): boolean {
  try {
    return process.env.NODE_ENV !== 'production';
  } catch {
    return false;
  }
}
