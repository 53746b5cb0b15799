import { Observable, Subscription } from 'rxjs';
import type { ChatStore } from '../chat/chat-store.js';
import { createChat } from '../chat/chat.js';
import { listChats } from '../chat/list-chats.js';
import type { Chat, ChatOptions, ChatSnapshot, ChatSummary } from '../chat/types.js';
import { createStateSubject } from '../state-subject.js';
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

/** The chat of one view. All bindings of chats subscribe to it. */
export interface ChatController {
  /** Always the same functions. They act on the chat that is shown when they are called. */
  readonly actions: ChatActions;
  /**
   * The state at once, then at most one for each animation frame, and one at once for each action, so that a
   * controlled input gets its draft; never errors and never completes. The first subscriber mounts the view, the
   * last to leave unmounts it.
   */
  readonly state$: Observable<ChatSnapshot>;
  /** The newest value of `state$`; the same object until it changes. */
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
  const states = createStateSubject<ChatSnapshot>();
  let snapshot = initial;
  let subscription = new Subscription();
  let mountCount = 0;
  let isMounted = false;
  let resolveMounted = (): void => {};
  const firstMount = new Promise<void>((resolve) => (resolveMounted = resolve));

  function emit(next: ChatSnapshot): void {
    snapshot = next;
    states.next(next);
  }

  const update = (): void => emit(chat.getSnapshot());

  const reset = (): void => emit(id === undefined ? initial : chat.getSnapshot());
  reset();

  function read(): void {
    // An action may have shown a newer snapshot than `perFrame` gives.
    subscription = chat.state$.pipe(perFrame()).subscribe(update);
    isMounted = true;
    resolveMounted();
  }

  function runWhenMounted<T>(action: (chat: Chat) => T): T;
  function runWhenMounted<T>(action: (chat: Chat) => T): T | Promise<T> {
    const target = chat;
    const run = (): T => {
      try {
        return action(target);
      } finally {
        update();
      }
    };
    if (isMounted) return run();
    const result = firstMount.then(run);
    result.catch(() => {});
    return result;
  }

  return {
    state$: new Observable((subscriber) => {
      mountCount += 1;
      if (mountCount === 1) read();
      subscriber.add(states.value$.subscribe(subscriber));
      return () => {
        mountCount -= 1;
        if (mountCount === 0) subscription.unsubscribe();
      };
    }),
    getSnapshot: () => snapshot,
    getServerSnapshot: () => initial,
    show(next) {
      if (next === id) return;
      id = next;
      initial = initialSnapshot(id);
      subscription.unsubscribe();
      chat = createChat(client, { ...options, id });
      if (mountCount > 0) read();
      else reset();
    },
    actions: {
      send: (question) => runWhenMounted((target) => target.send(question)),
      stop: () => runWhenMounted((target) => target.stop()),
      edit: (messageId, text) => runWhenMounted((target) => target.edit(messageId, text)),
      regenerate: (messageId) => runWhenMounted((target) => target.regenerate(messageId)),
      retry: (messageId) => runWhenMounted((target) => target.retry(messageId)),
      continue: (messageId) => runWhenMounted((target) => target.continue(messageId)),
      selectVersion: (messageId, version) =>
        runWhenMounted((target) => target.selectVersion(messageId, version)),
      remove: (messageId) => runWhenMounted((target) => target.remove(messageId)),
      setDraft: (text) => runWhenMounted((target) => target.setDraft(text)),
      reply: (messageId, callId, reply) =>
        runWhenMounted((target) => target.reply(messageId, callId, reply)),
      clear: () => runWhenMounted((target) => target.clear()),
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
export function observeChatList(
  client: Client,
  store: ChatStore | undefined,
): Observable<ChatList> {
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
