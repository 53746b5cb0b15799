import type { Answer, Client } from '../types.js';
import { findAnswer } from './conversation.js';

/** The newest answer of each chat that is being read. */
export class ChatAnswers {
  readonly #client: Client;
  readonly #chatOf: (sessionId: string) => string;
  readonly #answers = new Map<string, Answer>();

  /** `chatOf` returns the id of the chat that a session is of. */
  constructor(client: Client, chatOf: (sessionId: string) => string) {
    this.#client = client;
    this.#chatOf = chatOf;
  }

  add(chatId: string, answer: Answer): void {
    this.#answers.set(chatId, answer);
    const remove = (): void => {
      if (this.#answers.get(chatId) === answer) this.#answers.delete(chatId);
    };
    answer.result.then(remove, remove);
  }

  /** Cancels the answer of a chat, also one that this page does not read, since it waits for the page. */
  async cancel(chatId: string): Promise<void> {
    const known = this.#answers.get(chatId);
    if (known !== undefined) return known.cancel();
    const found = await findAnswer(this.#client, (session) => this.#chatOf(session) === chatId);
    // Meanwhile the user may have asked another question.
    if (!this.#answers.has(chatId)) found?.cancel();
    found?.release();
  }
}
