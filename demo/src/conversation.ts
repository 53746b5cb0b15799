import type { ActiveAnswer, Answer, CacheMode, Client } from '@rivulet/client';
import { asapScheduler, observeOn } from 'rxjs';
import { createAnswerView } from './answer-view.js';

export interface Conversation {
  /** Shows what is being generated for this browser: asked before a reload, or in another tab. */
  goOn(): void;
  ask(query: string, cache?: CacheMode): void;
}

interface ConversationOptions {
  /** Called before a question is shown. */
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
  const shown = new Set<string>();

  function start(query: string, cache: CacheMode): Answer {
    const answer = client.start({ query, options: { cache, onRateLimit: 'wait' } });
    shown.add(answer.id);
    return answer;
  }

  function show(answer: Answer, query: string, cache: CacheMode): void {
    const article = createAnswerView(answer, {
      retry: () => start(query, cache),
      again: (mode) => ask(query, mode),
      edit: () => onEdit(query),
    });
    log.append(article);
  }

  function ask(query: string, cache: CacheMode = 'default'): void {
    onAsk();
    show(start(query, cache), query, cache);
  }

  function resume({ id, query }: ActiveAnswer): void {
    if (shown.has(id)) return;
    shown.add(id);
    onAsk();
    show(client.resume(id), query, 'default');
  }

  return {
    ask,
    goOn() {
      // One that is asked here is told of before it is known to be shown.
      client.active$.pipe(observeOn(asapScheduler)).subscribe((active) => active.forEach(resume));
    },
  };
}
