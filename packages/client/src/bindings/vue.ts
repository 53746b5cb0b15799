import type { Subscription } from 'rxjs';
import {
  getCurrentInstance,
  type MaybeRefOrGetter,
  onMounted,
  onScopeDispose,
  type ShallowRef,
  shallowRef,
  toValue,
  watch,
} from 'vue';
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
export interface UseAnswer extends AnswerActions {
  readonly state: Readonly<ShallowRef<AnswerState>>;
}

/**
 * Asks on behalf of a component, or of an effect scope. The state changes at most once a frame. Nothing
 * is asked while rendering on a server.
 */
export function useAnswer(client: Client, options?: UseAnswerOptions): UseAnswer {
  const { state$, getSnapshot, actions } = createAnswerController(client, options);
  const state = shallowRef(getSnapshot());
  whileMounted(() => state$.subscribe((next) => (state.value = next)));
  return { state, ...actions };
}

/** The options of a chat; `id` may change. */
export interface UseChatOptions extends Omit<ChatOptions, 'id'> {
  id?: MaybeRefOrGetter<string | undefined>;
}

/** The state of a view's chat, and what the view can do. */
export interface UseChat extends ChatActions {
  readonly state: Readonly<ShallowRef<ChatSnapshot>>;
}

/**
 * Shows a chat in a component, or in an effect scope. The state changes at most once a frame while text comes, and
 * at once after an action. Nothing is read or asked while rendering on a server. Another `id` shows another chat.
 */
export function useChat(client: Client, { id, ...options }: UseChatOptions = {}): UseChat {
  const controller = createChatController(client, { ...options, id: toValue(id) });
  const { state$, getSnapshot, actions, show } = controller;
  const state = shallowRef(getSnapshot());
  watch(
    () => toValue(id),
    (next) => {
      show(next);
      state.value = getSnapshot();
    },
    { flush: 'sync' },
  );
  whileMounted(() => state$.subscribe((next) => (state.value = next)));
  return { state, ...actions };
}

/** The kept chats, the one that was changed last first. `store` is that of `useChat`. */
export function useChats(client: Client, store?: ChatStore): Readonly<ShallowRef<ChatList>> {
  const list = shallowRef(LOADING_CHATS);
  whileMounted(() => observeChatList(client, store).subscribe((next) => (list.value = next)));
  return list;
}

/** The state of the client's connection. */
export function useConnection(client: Client): Readonly<ShallowRef<ConnectionState>> {
  const connection = shallowRef<ConnectionState>({ status: 'idle' });
  whileMounted(() => client.connection$.subscribe((next) => (connection.value = next)));
  return connection;
}

function whileMounted(subscribe: () => Subscription): void {
  let subscription: Subscription | undefined;
  const mount = (): void => {
    subscription = subscribe();
  };
  if (getCurrentInstance()) onMounted(mount);
  else mount();
  onScopeDispose(() => subscription?.unsubscribe());
}
