import type { Client } from '@rivulet/client';
import {
  type AssistantMessage,
  type Chat,
  type ChatMessage,
  type ChatSnapshot,
  type ChatStore,
  createMemoryChatStore,
} from '@rivulet/client/chat';
import { filter, firstValueFrom } from 'rxjs';
import { startServer } from './rivulet.js';
import { sdk } from './sdk.js';
import { type Call, stage } from './stage.js';
import { createStorage, type TestStorage } from './storage.js';

/** A client whose chats are kept in `storage`, as a page of one user. */
export function openPage(url: string, storage: TestStorage): Client {
  return sdk(url, { auth: () => 'ada', cache: { namespace: 'ada', storage } });
}

/** A server whose provider the test plays, and a page of it. */
export async function stagedChat(options?: Parameters<typeof startServer>[1]) {
  const { provider, calls, nextCall } = stage();
  const server = await startServer(provider, {
    authenticate: () => ({ principal: 'ada' }),
    ...options,
  });
  const storage = createStorage();
  const client = openPage(server.url, storage);
  /** Answers the next call with `text`. */
  async function reply(text: string, reason?: 'stop' | 'length' | 'other'): Promise<Call> {
    const call = await nextCall();
    if (text !== '') call.say(text);
    call.finish(reason);
    return call;
  }
  return { server, storage, client, calls, nextCall, reply };
}

/** A store that several pages have at once, and that tells each what the others do. */
export function createSharedStore(): ChatStore {
  const store = createMemoryChatStore();
  const listeners = new Set<(chatId?: string) => void>();
  const tell = (chatId: string): void => {
    for (const listener of listeners) queueMicrotask(() => listener(chatId));
  };
  return {
    ...store,
    async write(chat, messages) {
      await store.write(chat, messages);
      tell(chat.id);
    },
    async remove(chatId) {
      await store.remove(chatId);
      tell(chatId);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** The first snapshot for which `matches` is true, the present one included. */
export function chatWhen(
  { state$ }: Chat,
  matches: (snapshot: ChatSnapshot) => boolean,
): Promise<ChatSnapshot> {
  return firstValueFrom(state$.pipe(filter(matches)));
}

/** Once no answer is under way and the last message is an answer. */
export function settled(chat: Chat): Promise<ChatSnapshot> {
  return chatWhen(
    chat,
    ({ status, messages }) => status === 'ready' && messages.at(-1)?.role === 'assistant',
  );
}

/** The texts of a chat's messages, or of a prompt's. */
export const textsOf = ({ messages }: { messages: readonly object[] }): (string | undefined)[] =>
  messages.map((message) => ('text' in message ? String(message.text) : undefined));

/** The newest answer of a chat. */
export function newestAnswer(chat: Chat): AssistantMessage {
  const newest = chat.getSnapshot().messages.findLast(isAnswer);
  if (newest === undefined) throw new Error('there is no answer yet');
  return newest;
}

const isAnswer = (message: ChatMessage): message is AssistantMessage =>
  message.role === 'assistant';
