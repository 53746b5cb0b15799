import { StreamError } from '@rivulet/protocol';
import type { Answer } from '../types.js';
import type { ChatRecords } from './chat-records.js';
import type { UserRecord } from './records.js';
import { queueOf } from './tree.js';

/** The promise of a queued question. */
interface Pending {
  /** The text of an edit. */
  readonly edited: string | undefined;
  resolve(answer: Answer): void;
  reject(error: StreamError): void;
}

const LOCK_PREFIX = 'rivulet:owner:';

/**
 * The questions of one chat that wait. Each is asked by one page, its owner. When that page is gone, another
 * one takes its questions over, which it learns from Web Locks. Without them, as in React Native and on plain
 * HTTP, a page takes over at once what was queued before it opened the chat.
 */
export class ChatQueue {
  readonly #records: ChatRecords;
  /** Names this page. */
  readonly #owner: string;
  readonly #onTaken: () => void;
  readonly #createdAt = Date.now();
  readonly #pending = new Map<string, Pending>();
  /** Ends waiting for the page of an owner to go away, by owner. */
  readonly #awaited = new Map<string, AbortController>();
  #releaseLock: (() => void) | undefined;

  /** `onTaken` is called when questions of another page became this page's. */
  constructor(records: ChatRecords, owner: string, onTaken: () => void) {
    this.#records = records;
    this.#owner = owner;
    this.#onTaken = onTaken;
  }

  /** The questions whose callers wait for them to be asked, by id: with the text of an edit. */
  get awaited(): ReadonlyMap<string, { readonly edited: string | undefined }> {
    return new Map(this.#pending);
  }

  /** True while a caller waits for its question to be asked. */
  get isAwaited(): boolean {
    return this.#pending.size > 0;
  }

  /** The question of this page that is to be asked next. */
  get next(): UserRecord | undefined {
    const next = queueOf(this.#records.all).find(({ owner }) => owner === this.#owner);
    if (next === undefined) this.#release();
    return next;
  }

  /** @returns what resolves once the question is asked. */
  wait(messageId: string, edited?: string): Promise<Answer> {
    this.#holdLock();
    return new Promise((resolve, reject) =>
      this.#pending.set(messageId, { resolve, reject, edited }),
    );
  }

  resolve(messageId: string, answer: Answer): void {
    this.#pending.get(messageId)?.resolve(answer);
    this.#pending.delete(messageId);
  }

  reject(messageId: string, reason: string): void {
    this.#pending.get(messageId)?.reject(new StreamError('cancelled', `unable to ask: ${reason}`));
    this.#pending.delete(messageId);
  }

  /** Rejects all promises, and lets other pages take the questions over. */
  rejectAll(reason: string): void {
    for (const messageId of this.awaited.keys()) this.reject(messageId, reason);
    this.#release();
  }

  /** Takes over what other pages have queued once they are gone. */
  takeOver(): void {
    const hasLocks = locks() !== undefined;
    for (const { owner, updatedAt } of queueOf(this.#records.all)) {
      if (owner === this.#owner || this.#awaited.has(owner)) continue;
      // Without locks two open pages would take the same question from each other for ever.
      if (hasLocks || updatedAt <= this.#createdAt) this.#await(owner);
    }
  }

  /** The chat is not used any more. */
  close(): void {
    for (const controller of this.#awaited.values()) controller.abort();
    this.#awaited.clear();
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
      ?.request(LOCK_PREFIX + this.#owner, () => released)
      .catch(() => {});
  }

  #await(owner: string): void {
    const controller = new AbortController();
    this.#awaited.set(owner, controller);
    const { signal } = controller;
    const request = locks()?.request(LOCK_PREFIX + owner, { signal }, () => this.#take(owner));
    // Aborted, or the page may not use locks.
    if (request) request.catch(() => {});
    else void this.#take(owner);
  }

  /** While this page has the lock no other one takes them. */
  async #take(owner: string): Promise<void> {
    await this.#records.read();
    this.#awaited.delete(owner);
    const taken = queueOf(this.#records.all).filter((record) => record.owner === owner);
    if (taken.length === 0) return;
    this.#holdLock();
    const updatedAt = this.#records.now();
    this.#records.put(...taken.map((record) => ({ ...record, owner: this.#owner, updatedAt })));
    await this.#records.save();
    this.#onTaken();
  }
}

/** React Native, Node 20 and pages on plain HTTP have none. */
function locks(): Pick<LockManager, 'request'> | undefined {
  return (globalThis.navigator as { locks?: LockManager } | undefined)?.locks;
}
