import { StreamError } from '@rivulet/protocol';
import type { Answer } from '../types.js';
import type { ChatRecords } from './chat-records.js';
import type { UserRecord } from './records.js';
import { queueOf } from './tree.js';

/** The promise of a queued question, and the text of its edit. */
interface PendingQuestion {
  /** The new text if the question was edited while it was queued. */
  readonly edited: string | undefined;
  /** An abort of this signal removes the question. */
  readonly signal: AbortSignal | undefined;
  readonly onAbort: () => void;
  resolve(answer: Answer): void;
  reject(error: StreamError): void;
}

const LOCK_PREFIX = 'rivulet:owner:';

/**
 * The queued questions of one chat. Each is sent by one page, its owner. Web Locks tell another page when the owner
 * is closed, and that page claims the questions. Where Web Locks are missing, as in React Native and on plain HTTP, a
 * page claims at once the questions that were queued before it opened the chat.
 */
export class ChatQueue {
  readonly #records: ChatRecords;
  /** The id of this page. */
  readonly #pageId: string;
  readonly #onClaimed: () => void;
  readonly #onAborted: (messageId: string) => void;
  readonly #createdAt = Date.now();
  readonly #pending = new Map<string, PendingQuestion>();
  /** Stops waiting for the lock of another page, by the id of that page. */
  readonly #claims = new Map<string, AbortController>();
  #releaseLock: (() => void) | undefined;

  /**
   * `onClaimed` is called after this page has claimed questions of another page, and `onAborted` after the signal of
   * a question was aborted.
   */
  constructor(
    records: ChatRecords,
    pageId: string,
    onClaimed: () => void,
    onAborted: (messageId: string) => void,
  ) {
    this.#records = records;
    this.#pageId = pageId;
    this.#onClaimed = onClaimed;
    this.#onAborted = onAborted;
  }

  /** The questions with an unsettled promise, by id, and the text of their edit. */
  get pending(): ReadonlyMap<string, { readonly edited: string | undefined }> {
    return new Map(this.#pending);
  }

  /** True while a promise of a question is unsettled. */
  get hasPending(): boolean {
    return this.#pending.size > 0;
  }

  /** The question of this page that is sent next. */
  get next(): UserRecord | undefined {
    const next = queueOf(this.#records.all).find(({ owner }) => owner === this.#pageId);
    if (next === undefined) this.#release();
    return next;
  }

  /** The signal of a question with an unsettled promise. */
  signalOf(messageId: string): AbortSignal | undefined {
    return this.#pending.get(messageId)?.signal;
  }

  /** @returns a promise that resolves when the question is sent. */
  wait(messageId: string, signal?: AbortSignal, edited?: string): Promise<Answer> {
    this.#holdLock();
    const onAbort = (): void => this.#onAborted(messageId);
    signal?.addEventListener('abort', onAbort);
    return new Promise((resolve, reject) =>
      this.#pending.set(messageId, { resolve, reject, edited, signal, onAbort }),
    );
  }

  resolve(messageId: string, answer: Answer): void {
    this.#take(messageId)?.resolve(answer);
  }

  reject(messageId: string, reason: string): void {
    this.#take(messageId)?.reject(new StreamError('cancelled', `unable to ask: ${reason}`));
  }

  #take(messageId: string): PendingQuestion | undefined {
    const pending = this.#pending.get(messageId);
    this.#pending.delete(messageId);
    pending?.signal?.removeEventListener('abort', pending.onAbort);
    return pending;
  }

  /** Rejects all promises, and lets other pages claim the questions. */
  rejectAll(reason: string): void {
    for (const messageId of this.pending.keys()) this.reject(messageId, reason);
    this.#release();
  }

  /** Claims the questions of other pages once those pages are closed. */
  claimAbandoned(): void {
    const hasLocks = locks() !== undefined;
    for (const { owner, updatedAt } of queueOf(this.#records.all)) {
      if (owner === this.#pageId || this.#claims.has(owner)) continue;
      // Without locks, two open pages would claim the same question from each other forever.
      if (hasLocks || updatedAt <= this.#createdAt) this.#claimWhenClosed(owner);
    }
  }

  /** Stops waiting for other pages; the chat is not used any more. */
  close(): void {
    for (const controller of this.#claims.values()) controller.abort();
    this.#claims.clear();
    this.#release();
  }

  #release(): void {
    this.#releaseLock?.();
    this.#releaseLock = undefined;
  }

  #holdLock(): void {
    if (this.#releaseLock !== undefined) return;
    const released = new Promise<void>((resolve) => (this.#releaseLock = resolve));
    locks()
      ?.request(LOCK_PREFIX + this.#pageId, () => released)
      .catch(() => {});
  }

  #claimWhenClosed(owner: string): void {
    const controller = new AbortController();
    this.#claims.set(owner, controller);
    const { signal } = controller;
    const request = locks()?.request(LOCK_PREFIX + owner, { signal }, () => this.#claim(owner));
    // The request was aborted, or the page may not use locks.
    if (request) request.catch(() => {});
    else void this.#claim(owner);
  }

  /** Runs while this page holds the lock of the owner, so no other page claims the same questions. */
  async #claim(owner: string): Promise<void> {
    await this.#records.read();
    this.#claims.delete(owner);
    const claimed = queueOf(this.#records.all).filter((record) => record.owner === owner);
    if (claimed.length === 0) return;
    this.#holdLock();
    const updatedAt = this.#records.now();
    this.#records.put(...claimed.map((record) => ({ ...record, owner: this.#pageId, updatedAt })));
    await this.#records.save();
    this.#onClaimed();
  }
}

/** @returns undefined in React Native, in Node.js 20 and on plain HTTP, which have no Web Locks. */
function locks(): Pick<LockManager, 'request'> | undefined {
  return (globalThis.navigator as { locks?: LockManager } | undefined)?.locks;
}
