import {
  type Accessor,
  createComputed,
  createSignal,
  on,
  onCleanup,
  onMount,
  untrack,
} from 'solid-js';
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
export interface CreatedAnswer extends AnswerActions {
  readonly state: Accessor<AnswerState>;
}

/**
 * Asks on behalf of a component. The state changes at most once a frame. Nothing is asked while rendering
 * on a server.
 */
export function createAnswer(client: Client, options?: UseAnswerOptions): CreatedAnswer {
  const { state$, getSnapshot, actions } = createAnswerController(client, options);
  const [state, setState] = createSignal(getSnapshot());
  whileMounted(() => state$.subscribe((next) => setState(next)));
  return { state, ...actions };
}

/** The options of a chat; `id` may change. */
export interface CreateChatOptions extends Omit<ChatOptions, 'id'> {
  id?: string | Accessor<string | undefined> | undefined;
}

/** The state of a view's chat, and what the view can do. */
export interface CreatedChat extends ChatActions {
  readonly state: Accessor<ChatSnapshot>;
}

/**
 * Shows a chat in a component. The state changes at most once a frame while text comes, and at once after an
 * action. Nothing is read or asked while rendering on a server. Another `id` shows another chat. Give the messages
 * to `<Index>`: `<For>` makes the elements of a message again whenever its text grows.
 */
export function createChat(
  client: Client,
  { id, ...options }: CreateChatOptions = {},
): CreatedChat {
  const getId = typeof id === 'function' ? id : () => id;
  const controller = createChatController(client, { ...options, id: untrack(getId) });
  const { state$, getSnapshot, actions, show } = controller;
  const [state, setState] = createSignal(getSnapshot());
  const onIdChange = (next: string | undefined): void => {
    show(next);
    setState(getSnapshot());
  };
  createComputed(on(getId, onIdChange, { defer: true }));
  whileMounted(() => state$.subscribe((next) => setState(next)));
  return { state, ...actions };
}

/** The kept chats, the one that was changed last first. `store` is that of `createChat`. */
export function createChats(client: Client, store?: ChatStore): Accessor<ChatList> {
  const [list, setList] = createSignal(LOADING_CHATS);
  whileMounted(() => observeChatList(client, store).subscribe((next) => setList(next)));
  return list;
}

/** The state of the client's connection. */
export function createConnection(client: Client): Accessor<ConnectionState> {
  const [connection, setConnection] = createSignal<ConnectionState>({ status: 'idle' });
  whileMounted(() => client.connection$.subscribe((next) => setConnection(next)));
  return connection;
}

function whileMounted(subscribe: () => Subscription): void {
  onMount(() => {
    const subscription = subscribe();
    onCleanup(() => subscription.unsubscribe());
  });
}
