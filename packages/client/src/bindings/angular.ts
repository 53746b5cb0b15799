import {
  afterNextRender,
  DestroyRef,
  effect,
  inject,
  type Signal,
  signal,
  untracked,
} from '@angular/core';
import type { Subscription } from 'rxjs';
import type { ChatStore } from '../chat/chat-store.js';
import type { ChatOptions, ChatSnapshot } from '../chat/types.js';
import type { Client, ConnectionState } from '../types.js';
import {
  type AnswerActions,
  type AnswerState,
  createAnswerController,
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

/** The state of a view's answer, and what the view can do. */
export interface InjectedAnswer extends AnswerActions {
  readonly state: Signal<AnswerState>;
}

/**
 * Asks on behalf of what is being constructed, in an injection context; no zone is needed. The state
 * changes at most once a frame. Nothing is asked while rendering on a server.
 */
export function injectAnswer(client: Client, options?: UseAnswerOptions): InjectedAnswer {
  const { state$, getSnapshot, actions } = createAnswerController(client, options);
  const state = signal(getSnapshot());
  afterRender(() => state$.subscribe((next) => state.set(next)));
  return { state: state.asReadonly(), ...actions };
}

/** The options of a chat; `id` may be an input or another signal, and change. */
export interface InjectChatOptions extends Omit<ChatOptions, 'id'> {
  id?: string | (() => string | undefined) | undefined;
}

/** The state of a view's chat, and what the view can do. */
export interface InjectedChat extends ChatActions {
  readonly state: Signal<ChatSnapshot>;
}

/**
 * Shows a chat in what is being constructed, in an injection context; no zone is needed. The state changes at most
 * once a frame while text comes, and at once after an action. Nothing is read or asked while rendering on a server.
 * Another `id` shows another chat.
 */
export function injectChat(
  client: Client,
  { id, ...options }: InjectChatOptions = {},
): InjectedChat {
  const first = typeof id === 'string' ? id : undefined;
  const controller = createChatController(client, { ...options, id: first });
  const { state$, getSnapshot, actions, show } = controller;
  const state = signal(getSnapshot());
  if (typeof id === 'function') {
    // An input has no value yet; the effect runs before the first rendering.
    effect(() => {
      const next = id();
      untracked(() => {
        show(next);
        state.set(getSnapshot());
      });
    });
  }
  afterRender(() => state$.subscribe((next) => state.set(next)));
  return { state: state.asReadonly(), ...actions };
}

/** The kept chats, the one that was changed last first. `store` is that of `injectChat`. */
export function injectChats(client: Client, store?: ChatStore): Signal<ChatList> {
  const list = signal(LOADING_CHATS);
  afterRender(() => observeChatList(client, store).subscribe((next) => list.set(next)));
  return list.asReadonly();
}

/** The state of the client's connection. */
export function injectConnection(client: Client): Signal<ConnectionState> {
  const connection = signal<ConnectionState>({ status: 'idle' });
  afterRender(() => client.connection$.subscribe((next) => connection.set(next)));
  return connection.asReadonly();
}

function afterRender(subscribe: () => Subscription): void {
  const destroyRef = inject(DestroyRef);
  afterNextRender(() => {
    const subscription = subscribe();
    destroyRef.onDestroy(() => subscription.unsubscribe());
  });
}
