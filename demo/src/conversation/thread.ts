import type { AssistantMessage, Chat, ChatMessage, UserMessage } from '@rivulet/client/chat';
import { placeChildren } from '../dom.js';
import { createAnswerView } from './answer-view.js';
import { createQuestionView, type QuestionView } from './question-view.js';
import type { MessageView } from './view.js';

export interface Thread {
  /** Draws what changed since the last call. */
  draw(messages: readonly ChatMessage[]): void;
  /** Edits the newest question in its place. @returns false if there is none. */
  editLast(): boolean;
}

type Entry =
  | { readonly role: 'user'; message: UserMessage; readonly view: QuestionView }
  | {
      readonly role: 'assistant';
      message: AssistantMessage;
      readonly view: MessageView<AssistantMessage>;
    };

/** The visible messages of one chat in `log`, oldest first. */
export function createThread(chat: Chat, log: HTMLElement): Thread {
  let entries = new Map<string, Entry>();
  log.replaceChildren();

  function entryOf(message: ChatMessage): Entry {
    const known = entries.get(message.id);
    if (known !== undefined) return known;
    return message.role === 'user'
      ? { role: 'user', message, view: createQuestionView(chat, message) }
      : { role: 'assistant', message, view: createAnswerView(chat, message, editLast) };
  }

  function drawEntry(entry: Entry, message: ChatMessage, isNew: boolean): void {
    if (entry.message === message && !isNew) return;
    if (entry.role === 'user' && message.role === 'user') {
      entry.message = message;
      entry.view.draw(message);
    } else if (entry.role === 'assistant' && message.role === 'assistant') {
      entry.message = message;
      entry.view.draw(message);
    }
  }

  function editLast(): boolean {
    const last = [...entries.values()].findLast(({ role }) => role === 'user');
    if (last?.role !== 'user') return false;
    last.view.edit();
    return true;
  }

  return {
    draw(messages) {
      const focus = focusIn(log);
      const next = new Map<string, Entry>();
      for (const message of messages) {
        const entry = entryOf(message);
        drawEntry(entry, message, !entries.has(message.id));
        next.set(message.id, entry);
      }
      entries = next;
      placeChildren(
        log,
        [...entries.values()].map(({ view }) => view.root),
      );
      focus?.keep([...entries.values()]);
    },
    editLast,
  };
}

/**
 * Keeps the focus in its place when the control that has it is replaced or hidden: on the same control of the
 * message that is there now, or on that message.
 */
function focusIn(log: HTMLElement): { keep(entries: readonly Entry[]): void } | undefined {
  const focused = document.activeElement;
  if (!(focused instanceof HTMLElement) || !log.contains(focused) || focused === log) {
    return undefined;
  }
  const index = [...log.children].findIndex((child) => child.contains(focused));
  return {
    keep(entries) {
      if (focused.isConnected && focused.checkVisibility()) {
        focused.focus({ preventScroll: true });
        return;
      }
      const entry = entries[Math.min(index, entries.length - 1)];
      const { testid = '' } = focused.dataset;
      const same = entry?.view.root.querySelector<HTMLElement>(`[data-testid="${testid}"]`);
      if (testid !== '' && same?.checkVisibility()) same.focus({ preventScroll: true });
      else entry?.view.focus();
    },
  };
}
