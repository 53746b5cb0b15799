import { isFinal } from '../answer/snapshot.js';
import type { AnswerSnapshot } from '../types.js';
import type { ChatRecords } from './chat-records.js';
import type { LiveParts } from './live-parts.js';
import type { LivePart } from './message.js';
import { type PartRecord, partOf, withPart } from './records.js';

/** The recorder calls its listener, the chat. */
export interface RecorderListener {
  /** @returns true while the chat itself stops its running answers. */
  isStopping(): boolean;
  isClientClosed(): boolean;
  /** Called when an answer has changed. */
  onChange(): void;
  /** Called when an answer has ended. */
  onEnd(): void;
  /** Called when the server does not know the answer yet. The chat resumes it again later. */
  onUnknownAnswer(): void;
}

const SAVE_EVERY_MS = 5_000;
/** The time within which a question of another page reaches the server. */
const MAX_DELIVERY_MS = 30_000;

/** Writes the running answers of a chat into its records. */
export class AnswerRecorder {
  readonly #records: ChatRecords;
  readonly #live: LiveParts;
  readonly #listener: RecorderListener;
  #saveTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(records: ChatRecords, live: LiveParts, listener: RecorderListener) {
    this.#records = records;
    this.#live = live;
    this.#listener = listener;
  }

  /** Records a new state of the answer of a message. */
  add(messageId: string, part: LivePart): void {
    const { snapshot, lastTextAt } = part;
    if (!isFinal(snapshot)) {
      this.#recordFirstStates(messageId, part);
      this.#saveTimer ??= setTimeout(() => this.#save(), SAVE_EVERY_MS);
      return this.#listener.onChange();
    }
    if (this.#mayStillArrive(messageId, snapshot)) return this.#listener.onUnknownAnswer();
    const last = partOf(snapshot, lastTextAt, this.#records.now());
    if (snapshot.status !== 'cancelled' || this.#listener.isStopping())
      return this.end(messageId, last);
    // Closing the client cancels its answers, and the next page resumes them. `connection$` reports it synchronously.
    queueMicrotask(() => {
      if (!this.#listener.isClientClosed()) return this.end(messageId, last);
      this.#record(messageId, { ...last, answer: { ...last.answer, status: 'reconnecting' } });
    });
  }

  /** Records the end of the answer of a message. */
  end(messageId: string, part: PartRecord): void {
    this.#record(messageId, part);
    this.#listener.onEnd();
  }

  /** Updates the records with the text so far, in case this page and the server go away. */
  update(): void {
    for (const record of this.#records.all) {
      const live = this.#live.get(record.id);
      if (live === undefined || record.role !== 'assistant') continue;
      const part = partOf(live.snapshot, live.lastTextAt, this.#records.now());
      this.#records.update(withPart(record, part));
    }
  }

  close(): void {
    clearTimeout(this.#saveTimer);
    this.#saveTimer = undefined;
  }

  #save(): void {
    this.#saveTimer = undefined;
    this.update();
    void this.#records.save();
  }

  #record(messageId: string, part: PartRecord): void {
    const record = this.#records.get(messageId);
    if (record?.role === 'assistant') this.#records.put(withPart(record, part));
  }

  /** @returns true if the server does not know the answer because another page has not reached it yet. */
  #mayStillArrive(messageId: string, { error, requestId }: AnswerSnapshot): boolean {
    const record = this.#records.get(messageId);
    if (error?.code !== 'interrupted' || requestId !== undefined) return false;
    const part = record?.role === 'assistant' ? record.parts.at(-1) : undefined;
    if (part === undefined || part.answer.requestId !== undefined) return false;
    return Math.abs(Date.now() - part.updatedAt) < MAX_DELIVERY_MS;
  }

  /**
   * Records two states at once: that the server has the answer, so that other tabs can resume it, and the first text,
   * which a reloaded page shows before it has read the journal.
   */
  #recordFirstStates(messageId: string, { snapshot, lastTextAt }: LivePart): void {
    const record = this.#records.get(messageId);
    if (snapshot.requestId === undefined || record?.role !== 'assistant') return;
    const recorded = record.parts.at(-1)?.answer;
    const isFirstText = recorded?.text === '' && snapshot.text !== '';
    if (recorded?.requestId !== undefined && !isFirstText) return;
    this.#record(messageId, partOf(snapshot, lastTextAt, this.#records.now()));
  }
}
