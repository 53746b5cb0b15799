import { StreamError } from '@rivulet/protocol';
import type { Subscription } from 'rxjs';
import { isFinal } from '../answer/snapshot.js';
import type { Answer, AnswerSnapshot, ToolReply } from '../types.js';
import { type LivePart, resumedAnswer } from './message.js';
import type { PartRecord } from './records.js';

interface LiveEntry extends LivePart {
  readonly answer: Answer;
  readonly subscription: Subscription | undefined;
}

/** The running answers of a chat, by the id of their message. */
export class LiveParts {
  readonly #entries = new Map<string, LiveEntry>();
  readonly #onChange: (messageId: string, part: LivePart) => void;

  /** `onChange` is called for each new snapshot; the last one is final. */
  constructor(onChange: (messageId: string, part: LivePart) => void) {
    this.#onChange = onChange;
  }

  get size(): number {
    return this.#entries.size;
  }

  get parts(): Iterable<LivePart> {
    return this.#entries.values();
  }

  get(messageId: string): LivePart | undefined {
    return this.#entries.get(messageId);
  }

  /** Follows an answer to its end. `stored` is the part that the record of the chat has, for a resumed answer. */
  add(messageId: string, answer: Answer, stored: PartRecord | undefined): void {
    const snapshot = withStoredText(answer.getSnapshot(), stored);
    const entry = { answer, snapshot, lastTextAt: stored?.lastTextAt, subscription: undefined };
    this.#entries.set(messageId, entry);
    const subscription = answer.state$.subscribe((next) => this.#next(messageId, next, stored));
    const now = this.#entries.get(messageId);
    if (now?.answer === answer) this.#entries.set(messageId, { ...now, subscription });
  }

  /** Replies to a tool call of the answer of a message. Rejects with `not_found` if the answer is not running. */
  async reply(messageId: string, callId: string, reply: ToolReply): Promise<void> {
    const entry = this.#entries.get(messageId);
    if (entry !== undefined) return entry.answer.reply(callId, reply);
    throw new StreamError('not_found', 'unable to answer the call: its answer is not running');
  }

  /** Cancels the answer of a message; the answers of all messages if `messageId` is undefined. */
  cancel(messageId?: string): void {
    for (const [id, { answer }] of this.#entries) {
      if (messageId === undefined || messageId === id) answer.cancel();
    }
  }

  /** Cancels all answers without calling `onChange`. */
  cancelSilently(): void {
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    for (const { answer, subscription } of entries) {
      subscription?.unsubscribe();
      answer.cancel();
    }
  }

  #next(messageId: string, live: AnswerSnapshot, kept: PartRecord | undefined): void {
    const before = this.#entries.get(messageId);
    if (before === undefined) return;
    const snapshot = withStoredText(live, kept);
    const isNewText = snapshot.text !== before.snapshot.text && snapshot.text !== '';
    const lastTextAt = isNewText ? Date.now() : before.lastTextAt;
    if (isFinal(snapshot)) this.#entries.delete(messageId);
    else this.#entries.set(messageId, { ...before, snapshot, lastTextAt });
    this.#onChange(messageId, { snapshot, lastTextAt });
  }
}

function withStoredText(live: AnswerSnapshot, kept: PartRecord | undefined): AnswerSnapshot {
  return kept ? resumedAnswer(live, kept.answer) : live;
}
