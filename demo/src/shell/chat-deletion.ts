import type { Client } from '@rivulet/client';
import { type ChatStore, removeChat, renameChat, type StoredChat } from '@rivulet/client/chat';
import { element } from '../dom.js';

export interface ChatDeletion {
  remove(chatId: string): Promise<void>;
}

const UNDO_MS = 15_000;

/** Deletes chats at once, in every tab. `notice` offers to bring the last one back for a while. */
export function createChatDeletion(
  client: Client,
  store: ChatStore,
  notice: HTMLElement,
  onRestored: (chatId: string) => void,
): ChatDeletion {
  let timer: ReturnType<typeof setTimeout> | undefined;

  async function restore({ chat, messages }: StoredChat): Promise<void> {
    // The store refuses a chat that was created before it was removed.
    await store.write({ ...chat, createdAt: Date.now() + 1 }, messages);
    // A write to the store is not announced in this page; a new title is.
    await renameChat(client, chat.id, chat.title, store);
    onRestored(chat.id);
  }

  function offerUndo(deleted: StoredChat): void {
    const undo = element('button', { type: 'button', class: 'text-button' }, 'Undo');
    undo.addEventListener('click', () => {
      dismiss();
      void restore(deleted);
    });
    const title = element('span', { class: 'notice-words' }, `Deleted “${deleted.chat.title}”.`);
    notice.replaceChildren(title, undo);
    notice.hidden = false;
    clearTimeout(timer);
    timer = setTimeout(expire, UNDO_MS);
  }

  function dismiss(): void {
    clearTimeout(timer);
    notice.hidden = true;
    notice.replaceChildren();
  }

  /** A button that has the focus stays until the focus leaves it. */
  function expire(): void {
    if (!notice.contains(document.activeElement)) dismiss();
    else notice.addEventListener('focusout', dismiss, { once: true });
  }

  return {
    async remove(chatId) {
      const deleted = await store.read(chatId);
      await removeChat(client, chatId, store);
      if (deleted !== undefined) offerUndo(deleted);
    },
  };
}
