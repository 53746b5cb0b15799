import { BehaviorSubject, catchError, map, Observable, of, startWith, Subscription } from 'rxjs';
import type { ChatStore } from '../chat/chat-store.js';
import { createChat } from '../chat/chat.js';
import { listChats } from '../chat/list-chats.js';
import type { Chat, ChatOptions, ChatSnapshot, ChatSummary } from '../chat/types.js';
import { perFrame } from '../operators/per-frame.js';
import type { Client } from '../types.js';

/**
 * What a view can do with its chat: the methods of `Chat`. What is called before the view is first mounted happens
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
  /** What is shown while rendering on a server, and first in a page that was rendered there. */
  getServerSnapshot(): ChatSnapshot;
  /** Shows the chat with this id instead; a new chat if it is undefined. Nothing happens if it is the same. */
  show(id: string | undefined): void;
}

/** The state of a chat without an `id` has the id '' until the view is mounted, when it gets a random one. */
export function createChatController(client: Client, options: ChatOptions = {}): ChatController {
  let { id } = options;
  let chat = createChat(client, options);
  let initial = initialSnapshot(id);
  const states$ = new BehaviorSubject(id === undefined ? initial : chat.getSnapshot());
  let reading = new Subscription();
  let mounted = 0;
  let isReady = false;
  let setReady = (): void => {};
  const ready = new Promise<void>((resolve) => (setReady = resolve));

  function update(): void {
    const snapshot = chat.getSnapshot();
    if (snapshot !== states$.value) states$.next(snapshot);
  }

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
      subscriber.add(states$.subscribe(subscriber));
      return () => {
        mounted -= 1;
        if (mounted === 0) reading.unsubscribe();
      };
    }),
    getSnapshot: () => states$.value,
    getServerSnapshot: () => initial,
    show(next) {
      if (next === id) return;
      id = next;
      initial = initialSnapshot(id);
      reading.unsubscribe();
      chat = createChat(client, { ...options, id });
      if (mounted > 0) read();
      else states$.next(id === undefined ? initial : chat.getSnapshot());
    },
    actions: {
      send: (question) => act((shown) => shown.send(question)),
      stop: () => act((shown) => shown.stop()),
      edit: (messageId, text) => act((shown) => shown.edit(messageId, text)),
      regenerate: (messageId) => act((shown) => shown.regenerate(messageId)),
      retry: (messageId) => act((shown) => shown.retry(messageId)),
      continue: (messageId) => act((shown) => shown.continue(messageId)),
      selectVersion: (messageId, version) =>
        act((shown) => shown.selectVersion(messageId, version)),
      remove: (messageId) => act((shown) => shown.remove(messageId)),
      setDraft: (text) => act((shown) => shown.setDraft(text)),
      clear: () => act((shown) => shown.clear()),
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
  return listChats(client, store).pipe(
    map((chats): ChatList => Object.freeze({ status: 'ready', chats })),
    catchError((error: unknown) =>
      of<ChatList>(Object.freeze({ status: 'failed', chats: LOADING_CHATS.chats, error })),
    ),
    startWith(LOADING_CHATS),
  );
}
