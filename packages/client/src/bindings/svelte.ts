import type { Readable } from 'svelte/store';
import type { Observable } from 'rxjs';
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

/** A store of the state of a view's answer, and what the view can do. */
export interface AnswerStore extends Readable<AnswerState>, AnswerActions {}

/**
 * Asks on behalf of a component: `$answer` is the state, which changes at most once a frame. Nothing is
 * asked while rendering on a server.
 */
export function createAnswer(client: Client, options?: UseAnswerOptions): AnswerStore {
  const { state$, actions } = createAnswerController(client, options);
  return { ...readable(state$), ...actions };
}

/** A Svelte store of the state of a view's chat, and what the view can do. */
export interface CreatedChat extends Readable<ChatSnapshot>, ChatActions {}

/**
 * Shows a chat in a component: `$chat` is the state, which changes at most once a frame while text comes, and at
 * once after an action. Nothing is read or asked while rendering on a server. To show another chat when an id
 * changes: `const chat = $derived(createChat(client, { id }))`.
 */
export function createChat(client: Client, options?: ChatOptions): CreatedChat {
  const { state$, getServerSnapshot, actions } = createChatController(client, options);
  return { ...readable(state$, getServerSnapshot()), ...actions };
}

/** A Svelte store of the kept chats, the one that was changed last first. `store` is that of `createChat`. */
export function createChats(client: Client, store?: ChatStore): Readable<ChatList> {
  return readable(observeChatList(client, store), LOADING_CHATS);
}

/** A store of the state of the client's connection. */
export function createConnection(client: Client): Readable<ConnectionState> {
  return readable(client.connection$);
}

/** Svelte subscribes while it renders on a server, too; there it gets only `onServer`, if that is given. */
function readable<T>(source: Observable<T>, onServer?: T): Readable<T> {
  return {
    // Svelte gives a second argument, which RxJS would take for a handler of errors.
    subscribe(run) {
      if (onServer !== undefined && typeof document === 'undefined') {
        run(onServer);
        return () => {};
      }
      const subscription = source.subscribe((next) => run(next));
      return () => subscription.unsubscribe();
    },
  };
}
