import type { Answer, Client } from '../types.js';
import { findAnswer } from './conversation.js';

/** @returns true if a call waited for the page when the handle of the answer was released. */
function isPaused(answer: Answer): boolean {
  const { status, tools } = answer.getSnapshot();
  return status === 'released' && tools.some((tool) => tool.status === 'awaiting');
}

/** Cancels an answer that is being read, or that has paused at a call of the page. */
function cancelAnswer(client: Client, answer: Answer): void {
  if (isPaused(answer)) client.resume(answer.id).cancel();
  else answer.cancel();
}

/** The newest answer of each chat, until it ends or is released. An answer that has paused at a call stays. */
export class ChatAnswers {
  readonly #client: Client;
  readonly #chatOf: (sessionId: string) => string;
  readonly #answers = new Map<string, Answer>();

  /** @param chatOf returns the id of the chat of a session. */
  constructor(client: Client, chatOf: (sessionId: string) => string) {
    this.#client = client;
    this.#chatOf = chatOf;
  }

  add(chatId: string, answer: Answer): void {
    this.#answers.set(chatId, answer);
    const remove = (): void => {
      if (this.#answers.get(chatId) === answer && !isPaused(answer)) this.#answers.delete(chatId);
    };
    answer.result.then(remove, remove);
  }

  /** Cancels the answer of a chat, also one that this page has not read since it was loaded. */
  async cancel(chatId: string): Promise<void> {
    const known = this.#answers.get(chatId);
    this.#answers.delete(chatId);
    if (known !== undefined) return cancelAnswer(this.#client, known);
    const found = await findAnswer(this.#client, (session) => this.#chatOf(session) === chatId);
    // Meanwhile the user may have asked another question.
    if (!this.#answers.has(chatId)) found?.cancel();
    found?.release();
  }
}
