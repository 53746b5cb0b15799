import { StreamError } from '@rivulet/protocol';
import type { Subscription } from 'rxjs';
import { isFinal } from '../answer/snapshot.js';
import type { Answer, AnswerSnapshot, ToolReply } from '../types.js';
import { type LivePart, resumedAnswer } from './message.js';
import type { PartRecord } from './records.js';

interface Reading extends LivePart {
  readonly answer: Answer;
  readonly subscription: Subscription | undefined;
}

/** The answers of a chat that are under way, by the id of their message. */
export class LiveParts {
  readonly #readings = new Map<string, Reading>();
  readonly #onChange: (messageId: string, part: LivePart) => void;

  /** `onChange` is called for each new snapshot; the last one is final. */
  constructor(onChange: (messageId: string, part: LivePart) => void) {
    this.#onChange = onChange;
  }

  get size(): number {
    return this.#readings.size;
  }

  get parts(): Iterable<LivePart> {
    return this.#readings.values();
  }

  get(messageId: string): LivePart | undefined {
    return this.#readings.get(messageId);
  }

  /** Reads an answer to its end. `kept` is what the chat's record has of it. */
  read(messageId: string, answer: Answer, kept: PartRecord | undefined): void {
    const snapshot = shown(answer.getSnapshot(), kept);
    const reading = { answer, snapshot, lastTextAt: kept?.lastTextAt, subscription: undefined };
    this.#readings.set(messageId, reading);
    const subscription = answer.state$.subscribe((next) => this.#next(messageId, next, kept));
    const now = this.#readings.get(messageId);
    if (now?.answer === answer) this.#readings.set(messageId, { ...now, subscription });
  }

  /** Answers a call of the answer of a message. */
  async reply(messageId: string, callId: string, reply: ToolReply): Promise<void> {
    const reading = this.#readings.get(messageId);
    if (reading !== undefined) return reading.answer.reply(callId, reply);
    throw new StreamError('not_found', 'unable to answer the call: its answer is not under way');
  }

  /** Cancels the answer of a message; of all messages unless given. */
  cancel(messageId?: string): void {
    for (const [id, { answer }] of this.#readings) {
      if (messageId === undefined || messageId === id) answer.cancel();
    }
  }

  /** Cancels all, and tells nobody. */
  forget(): void {
    const readings = [...this.#readings.values()];
    this.#readings.clear();
    for (const { answer, subscription } of readings) {
      subscription?.unsubscribe();
      answer.cancel();
    }
  }

  #next(messageId: string, live: AnswerSnapshot, kept: PartRecord | undefined): void {
    const before = this.#readings.get(messageId);
    if (before === undefined) return;
    const snapshot = shown(live, kept);
    const isNewText = snapshot.text !== before.snapshot.text && snapshot.text !== '';
    const lastTextAt = isNewText ? Date.now() : before.lastTextAt;
    if (isFinal(snapshot)) this.#readings.delete(messageId);
    else this.#readings.set(messageId, { ...before, snapshot, lastTextAt });
    this.#onChange(messageId, { snapshot, lastTextAt });
  }
}

function shown(live: AnswerSnapshot, kept: PartRecord | undefined): AnswerSnapshot {
  return kept ? resumedAnswer(live, kept.answer) : live;
}
