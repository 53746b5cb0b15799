import type { CacheMode, Client } from '@rivulet/client';
import { createAnswerView } from './answer-view.js';

export interface Conversation {
  ask(query: string, cache?: CacheMode): void;
}

interface ConversationOptions {
  /** Called before a question is added. */
  onAsk: () => void;
  /** Called when a visitor wants to put a question in other words. */
  onEdit: (query: string) => void;
}

/** The questions and answers, each pair an article in `log`, newest last. */
export function createConversation(
  client: Client,
  log: HTMLElement,
  { onAsk, onEdit }: ConversationOptions,
): Conversation {
  function ask(query: string, cache: CacheMode = 'default'): void {
    onAsk();
    const start = () => client.start({ query, options: { cache } });
    const article = createAnswerView(start(), {
      retry: start,
      again: (mode) => ask(query, mode),
      edit: () => onEdit(query),
    });
    log.append(article);
  }
  return { ask };
}
