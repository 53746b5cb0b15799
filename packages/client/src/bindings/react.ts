'use client';

import { useEffect, useMemo, useState, useSyncExternalStore } from 'react';
import { type Observable, tap } from 'rxjs';
import type { ChatStore } from '../chat/chat-store.js';
import type { ChatOptions, ChatSnapshot } from '../chat/types.js';
import type { Client, ConnectionState } from '../types.js';
import {
  type AnswerActions,
  type AnswerState,
  createAnswerController,
  IDLE,
  type UseAnswerOptions,
} from './answer-controller.js';
import {
  type ChatActions,
  type ChatList,
  observeChatList,
  createChatController,
  LOADING_CHATS,
} from './chat-controller.js';

export type { AnswerActions, AnswerState, Idle, UseAnswerOptions } from './answer-controller.js';
export type { ChatActions, ChatList } from './chat-controller.js';

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
  const { state$, getSnapshot, actions } = useController('useAnswer', client, undefined, () =>
    createAnswerController(client, options),
  );
  const { answer } = options;
  const [given] = useState({ answer });
  useEffect(() => {
    // The effect also runs when a hidden view is shown again, which may show a later answer.
    if (given.answer === answer) return;
    given.answer = answer;
    if (answer !== undefined) actions.show(answer);
  }, [actions, answer, given]);
  const state = useObservable(state$, getSnapshot, () => IDLE);
  return { state, ...actions };
}

/** The state of a view's chat, and what the view can do; the actions are the same functions for the same id. */
export interface UseChat extends ChatActions {
  readonly state: ChatSnapshot;
}

/**
 * Shows a chat. The component renders at most once a frame while text comes, and at once after an action. Nothing
 * is read or asked while it is rendered on a server. Create the client outside of components. Another `options.id`
 * shows another chat; the other options are those of the first render with that id.
 */
export function useChat(client: Client, options: ChatOptions = {}): UseChat {
  const { state$, getSnapshot, getServerSnapshot, actions } = useController(
    'useChat',
    client,
    options.id,
    () => createChatController(client, options),
  );
  const state = useObservable(state$, getSnapshot, getServerSnapshot);
  return { state, ...actions };
}

/** The kept chats, the one that was changed last first. `store` is that of `useChat`. */
export function useChats(client: Client, store?: ChatStore): ChatList {
  return useLatest(
    useMemo(() => observeChatList(client, store), [client, store]),
    LOADING_CHATS,
  );
}

/** The state of the client's connection. */
export function useConnection(client: Client): ConnectionState {
  return useLatest(client.connection$, IDLE_CONNECTION);
}

const IDLE_CONNECTION: ConnectionState = Object.freeze({ status: 'idle' });

/** The newest value of `source$`; `initial` until there is one. */
function useLatest<T>(source$: Observable<T>, initial: T): T {
  const { newest$: latest$, getNewest: getLatest } = useMemo(() => {
    let latest = initial;
    return {
      newest$: source$.pipe(tap((next) => (latest = next))),
      getNewest: () => latest,
    };
  }, [source$, initial]);
  return useObservable(latest$, getLatest, () => initial);
}

function useObservable<T>(
  source$: Observable<T>,
  getSnapshot: () => T,
  getServerSnapshot: () => T,
): T {
  const subscribe = useMemo(
    () => (changed: () => void) => {
      const subscription = source$.subscribe(changed);
      return () => subscription.unsubscribe();
    },
    [source$],
  );
  return useSyncExternalStore(subscribe, getSnapshot, getServerSnapshot);
}

/**
 * @returns the value that `create` made for this client and id. It is kept as state, because Fast Refresh keeps state and
 * runs memos again. `hook` is the name of the public hook, for the warning.
 */
function useController<T>(
  hook: string,
  client: Client,
  id: string | undefined,
  create: () => T,
): T {
  const [held] = useState(() => ({
    client,
    id,
    controller: create(),
    /** True if the client of the render before was another one, too. */
    isNew: false,
  }));
  const isNew = held.client !== client;
  if (isNew && held.isNew && isDevelopment()) {
    // oxlint-disable-next-line no-console -- The warning is for the developer, and appears in development alone.
    console.error(
      `${hook}: each render has another client, and so loses its answer. Create the client outside of the component.`,
    );
  }
  if (isNew || held.id !== id) {
    held.client = client;
    held.id = id;
    held.controller = create();
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
