import { StreamError } from '@rivulet/protocol';
import { Observable } from 'rxjs';
import type { Client } from '../types.js';
import { chatHubOf } from './chat-hub.js';
import type { ChatStore } from './chat-store.js';
import type { ChatSummary } from './types.js';

/**
 * The chats that have a message, the one that was changed last first: at once, and after each change in any
 * tab. Errors if the store cannot be read.
 */
export function listChats(client: Client, store?: ChatStore): Observable<readonly ChatSummary[]> {
  return new Observable((subscriber) => {
    const hub = chatHubOf(client, store);
    let isReading = false;
    let isStale = false;

    async function read(): Promise<void> {
      isStale = true;
      if (isReading) return;
      isReading = true;
      try {
        while (isStale && !subscriber.closed) {
          isStale = false;
          const chats = await hub.store.list();
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

    subscriber.add(hub.subscribe(() => void read()));
    void read();
  });
}

/**
 * Gives a chat another title.
 *
 * @throws {StreamError} `not_found`, or `bad_request` for a blank title, which `listChats` would leave out
 */
export async function renameChat(
  client: Client,
  chatId: string,
  title: string,
  store?: ChatStore,
): Promise<void> {
  if (title.trim() === '') {
    throw new StreamError('bad_request', 'unable to rename the chat: the title is blank');
  }
  const hub = chatHubOf(client, store);
  const stored = await hub.store.read(chatId);
  if (stored === undefined) {
    throw new StreamError('not_found', 'unable to rename the chat: there is none with this id');
  }
  await hub.write({ ...stored.chat, title, titledAt: Date.now() }, []);
}

/** Removes a chat in every tab. Answers of it that are under way in this page are stopped. */
export async function removeChat(client: Client, chatId: string, store?: ChatStore): Promise<void> {
  await chatHubOf(client, store).remove(chatId);
}
