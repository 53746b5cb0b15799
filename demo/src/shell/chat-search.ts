import type { ChatStore, ChatSummary, MessageRecord } from '@rivulet/client/chat';

/** A chat that has the words, and the place where. */
export interface SearchResult {
  readonly chat: ChatSummary;
  /** Undefined if only the title has them. */
  readonly preview: Preview | undefined;
}

/** A piece of a message: the words that were found, and the text around them. */
export interface Preview {
  readonly before: string;
  readonly found: string;
  readonly after: string;
}

const BEFORE_CHARS = 14;
const AFTER_CHARS = 60;

/** Searches the titles and messages of chats. The texts of a chat are read again after it changed. */
export function createChatSearch(
  store: ChatStore,
): (chats: readonly ChatSummary[], words: string) => Promise<readonly SearchResult[]> {
  const texts = new Map<string, { updatedAt: number; messages: readonly string[] }>();

  async function textsOf({ id, updatedAt }: ChatSummary): Promise<readonly string[]> {
    const known = texts.get(id);
    if (known?.updatedAt === updatedAt) return known.messages;
    const stored = await store.read(id);
    const messages = [...(stored?.messages ?? [])]
      .sort((a, b) => a.createdAt - b.createdAt)
      .flatMap(textOf);
    texts.set(id, { updatedAt, messages });
    return messages;
  }

  return async (chats, words) => {
    const ids = new Set(chats.map(({ id }) => id));
    for (const id of texts.keys()) if (!ids.has(id)) texts.delete(id);
    const results: SearchResult[] = [];
    for (const chat of chats) {
      const preview = previewOf(await textsOf(chat), words);
      if (preview !== undefined || indexIn(chat.title, words) >= 0) results.push({ chat, preview });
    }
    return results;
  };
}

function textOf(message: MessageRecord): string[] {
  if (message.isRemoved) return [];
  if (message.role === 'user') return [message.text];
  return [message.parts.map(({ answer }) => answer.text).join('')];
}

function previewOf(messages: readonly string[], words: string): Preview | undefined {
  for (const text of messages) {
    const at = indexIn(text, words);
    if (at < 0) continue;
    const end = at + words.length;
    const from = Math.max(0, at - BEFORE_CHARS);
    const before = text.slice(from, at);
    return {
      // The excerpt leaves out the rest of a word that is cut.
      before: from > 0 ? `…${oneLine(before.replace(/^\S*\s/, ''))}` : oneLine(before),
      found: oneLine(text.slice(at, end)),
      after: oneLine(text.slice(end, end + AFTER_CHARS)),
    };
  }
  return undefined;
}

function indexIn(text: string, words: string): number {
  return text.toLowerCase().indexOf(words.toLowerCase());
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ');
}
