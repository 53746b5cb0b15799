import { StreamError } from '@rivulet/protocol';
import { Observable } from 'rxjs';
import type { Client } from '../types.js';
import { chatRegistryOf } from './chat-registry.js';
import type { ChatStore } from './chat-store.js';
import type { ChatSummary } from './types.js';

/**
 * Emits the chats that have a title, the most recently changed one first: at once, and after each change in any tab.
 * A chat gets its title with its first question. The Observable errors if the store cannot be read, and does not
 * complete. Without `store`, the default store of the client is used.
 */
export function listChats(client: Client, store?: ChatStore): Observable<readonly ChatSummary[]> {
  return new Observable((subscriber) => {
    const registry = chatRegistryOf(client, store);
    let isReading = false;
    let isStale = false;

    async function read(): Promise<void> {
      isStale = true;
      if (isReading) return;
      isReading = true;
      try {
        while (isStale && !subscriber.closed) {
          isStale = false;
          const chats = await registry.store.list();
          const listed = chats.filter(({ title }) => title !== '');
          listed.sort((a, b) => b.updatedAt - a.updatedAt);
          subscriber.next(
            Object.freeze(
              listed.map(({ id, title, createdAt, updatedAt }) =>
                Object.freeze({ id, title, createdAt, updatedAt }),
              ),
            ),
          );
        }
      } catch (error) {
        subscriber.error(error);
      }
      isReading = false;
    }

    subscriber.add(registry.subscribe(() => void read()));
    void read();
  });
}

/**
 * Changes the title of a chat.
 *
 * @throws {StreamError} `not_found` if the store has no such chat; `bad_request` for a blank title.
 */
export async function renameChat(
  client: Client,
  chatId: string,
  title: string,
  store?: ChatStore,
): Promise<void> {
  if (title.trim() === '') {
    throw new StreamError('bad_request', 'unable to rename the chat: the title must not be blank');
  }
  const registry = chatRegistryOf(client, store);
  const stored = await registry.store.read(chatId);
  if (stored === undefined) {
    throw new StreamError('not_found', 'unable to rename the chat: no chat has this id');
  }
  await registry.write({ ...stored.chat, title, titledAt: Date.now() }, []);
}

/** Removes a chat in every tab, and stops its running answers in this page. Rejects if the store fails. */
export async function removeChat(client: Client, chatId: string, store?: ChatStore): Promise<void> {
  await chatRegistryOf(client, store).remove(chatId);
}
