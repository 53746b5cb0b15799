import { Observable, Subscription } from 'rxjs';
import type { ChatStore } from '../chat/chat-store.js';
import { createChat } from '../chat/chat.js';
import { listChats } from '../chat/list-chats.js';
import type { Chat, ChatOptions, ChatSnapshot, ChatSummary } from '../chat/types.js';
import { createLatest } from '../latest.js';
import { perFrame } from '../operators/per-frame.js';
import type { Client } from '../types.js';

/**
 * The methods of `Chat`, for a view. An action that is called before the view is first mounted happens
 * then, so that nothing is asked while rendering on a server.
 */
export type ChatActions = Pick<
  Chat,
  | 'send'
  | 'stop'
  | 'edit'
  | 'regenerate'
  | 'retry'
  | 'continue'
  | 'selectVersion'
  | 'remove'
  | 'setDraft'
  | 'reply'
  | 'clear'
>;

/** One view's chat: what all bindings of chats are drawn from. */
export interface ChatController {
  /** Always the same functions. They act on the chat that is shown when they are called. */
  readonly actions: ChatActions;
  /**
   * The state at once, then at most one for each animation frame, and one at once for each action, so that a
   * controlled input gets its draft; never errors and never completes. The first subscriber mounts the view, the
   * last to leave unmounts it.
   */
  readonly state$: Observable<ChatSnapshot>;
  /** The newest that `state$` gave; the same object until it changes. */
  getSnapshot(): ChatSnapshot;
  /** The state that a view shows while it is rendered on a server, and first in a page that was rendered there. */
  getServerSnapshot(): ChatSnapshot;
  /** Shows the chat with this id instead; a new chat if it is undefined. Nothing happens if it is the same. */
  show(id: string | undefined): void;
}

/** The state of a chat without an `id` has the id '' until the view is mounted, when it gets a random one. */
export function createChatController(client: Client, options: ChatOptions = {}): ChatController {
  let { id } = options;
  let chat = createChat(client, options);
  let initial = initialSnapshot(id);
  const states = createLatest<ChatSnapshot>();
  let shown = initial;
  let reading = new Subscription();
  let mounted = 0;
  let isReady = false;
  let setReady = (): void => {};
  const ready = new Promise<void>((resolve) => (setReady = resolve));

  function set(snapshot: ChatSnapshot): void {
    shown = snapshot;
    states.next(snapshot);
  }

  const update = (): void => set(chat.getSnapshot());

  const begin = (): void => set(id === undefined ? initial : chat.getSnapshot());
  begin();

  function read(): void {
    // An action may have shown a newer snapshot than `perFrame` gives.
    reading = chat.state$.pipe(perFrame()).subscribe(update);
    isReady = true;
    setReady();
  }

  function act<T>(action: (chat: Chat) => T): T;
  function act<T>(action: (chat: Chat) => T): T | Promise<T> {
    const target = chat;
    const run = (): T => {
      try {
        return action(target);
      } finally {
        update();
      }
    };
    if (isReady) return run();
    const result = ready.then(run);
    result.catch(() => {});
    return result;
  }

  return {
    state$: new Observable((subscriber) => {
      mounted += 1;
      if (mounted === 1) read();
      subscriber.add(states.value$.subscribe(subscriber));
      return () => {
        mounted -= 1;
        if (mounted === 0) reading.unsubscribe();
      };
    }),
    getSnapshot: () => shown,
    getServerSnapshot: () => initial,
    show(next) {
      if (next === id) return;
      id = next;
      initial = initialSnapshot(id);
      reading.unsubscribe();
      chat = createChat(client, { ...options, id });
      if (mounted > 0) read();
      else begin();
    },
    actions: {
      send: (question) => act((target) => target.send(question)),
      stop: () => act((target) => target.stop()),
      edit: (messageId, text) => act((target) => target.edit(messageId, text)),
      regenerate: (messageId) => act((target) => target.regenerate(messageId)),
      retry: (messageId) => act((target) => target.retry(messageId)),
      continue: (messageId) => act((target) => target.continue(messageId)),
      selectVersion: (messageId, version) =>
        act((target) => target.selectVersion(messageId, version)),
      remove: (messageId) => act((target) => target.remove(messageId)),
      setDraft: (text) => act((target) => target.setDraft(text)),
      reply: (messageId, callId, reply) => act((target) => target.reply(messageId, callId, reply)),
      clear: () => act((target) => target.clear()),
    },
  };
}

function initialSnapshot(id: string | undefined): ChatSnapshot {
  return Object.freeze({
    id: id ?? '',
    status: id === undefined ? 'ready' : 'loading',
    messages: Object.freeze([]),
    draft: '',
    omittedMessages: 0,
    storeError: undefined,
  });
}

/** The kept chats, as a view lists them. `chats` are those of `listChats`. */
export type ChatList =
  | { readonly status: 'loading'; readonly chats: readonly ChatSummary[] }
  | { readonly status: 'ready'; readonly chats: readonly ChatSummary[] }
  /** The store cannot be read. */
  | { readonly status: 'failed'; readonly chats: readonly ChatSummary[]; readonly error: unknown };

export const LOADING_CHATS: ChatList = Object.freeze({
  status: 'loading',
  chats: Object.freeze([]),
});

/** `LOADING_CHATS` at once, then each change; never errors. */
export function chatLists(client: Client, store: ChatStore | undefined): Observable<ChatList> {
  return new Observable((subscriber) => {
    subscriber.next(LOADING_CHATS);
    const { chats: none } = LOADING_CHATS;
    return listChats(client, store).subscribe({
      next: (chats) => subscriber.next(Object.freeze({ status: 'ready', chats })),
      error: (error: unknown) =>
        subscriber.next(Object.freeze({ status: 'failed', chats: none, error })),
    });
  });
}
