import { isFinal } from '../answer/snapshot.js';
import type { AnswerSnapshot } from '../types.js';
import type { ChatRecords } from './chat-records.js';
import type { LiveParts } from './live-parts.js';
import { assistantMessage, type LivePart, userMessage } from './message.js';
import type { MessageRecord } from './records.js';
import { queueOf, type VisibleMessage, visibleBranch } from './tree.js';
import type { ChatMessage, ChatSnapshot, ChatStatus } from './types.js';

/** A message of the last snapshot, and the values that it was made of. */
interface CachedMessage {
  readonly message: ChatMessage;
  readonly record: MessageRecord;
  readonly live: LivePart | undefined;
  readonly isQueued: boolean;
}

/** Creates the snapshots of a chat. An unchanged message stays the same object. */
export class ChatView {
  readonly #records: ChatRecords;
  readonly #live: LiveParts;
  #cache = new Map<string, CachedMessage>();
  #branch: readonly VisibleMessage[] = [];
  /** The revision of the records that `#branch` and `#queue` were made of. */
  #revision = -1;
  #queue: readonly MessageRecord[] = [];

  constructor(records: ChatRecords, live: LiveParts) {
    this.#records = records;
    this.#live = live;
  }

  /** The visible branch, without queued questions. */
  get branch(): readonly VisibleMessage[] {
    if (this.#revision !== this.#records.revision) {
      this.#revision = this.#records.revision;
      this.#branch = visibleBranch(this.#records.all);
      this.#queue = queueOf(this.#records.all);
    }
    return this.#branch;
  }

  /** True if an answer of the visible branch is running, in this tab or another. */
  get isAnswering(): boolean {
    return this.branch.some(({ record }) => {
      const part = record.role === 'assistant' ? record.parts.at(-1) : undefined;
      return part !== undefined && !isFinal(part.answer);
    });
  }

  /** @returns `before`, the previous snapshot, if nothing has changed. */
  snapshot(before: ChatSnapshot | undefined): ChatSnapshot {
    const { chat, storeError } = this.#records;
    const { branch } = this;
    const cache = new Map<string, CachedMessage>();
    const unsent = branch.filter((visible) => this.#isUnsent(visible));
    const waiting = new Set(unsent.map(({ record }) => record.parentId));
    const messages = branch
      .filter((visible) => !unsent.includes(visible))
      .map((visible) => this.#message(visible, cache, waiting.has(visible.record.id)));
    for (const record of this.#queue) {
      messages.push(this.#message({ record, version: 0, versionCount: 1 }, cache, true));
    }
    this.#cache = cache;
    const isSame =
      messages.length === before?.messages.length &&
      messages.every((message, i) => message === before.messages[i]);
    const next: ChatSnapshot = {
      id: chat.id,
      status: this.#status(messages),
      messages: isSame ? before.messages : Object.freeze(messages),
      draft: chat.draft,
      omittedMessages: omittedOf(messages),
      storeError,
    };
    const keys = Object.keys(next) as (keyof ChatSnapshot)[];
    return before && keys.every((key) => next[key] === before[key]) ? before : Object.freeze(next);
  }

  /** @returns true if the question of the answer was not sent, because there is no connection. */
  #isUnsent({ record, versionCount }: VisibleMessage): boolean {
    const live = this.#live.get(record.id)?.snapshot;
    const isFirst = record.role === 'assistant' && record.parts.length === 1 && versionCount === 1;
    return isFirst && live?.status === 'reconnecting' && isUnknownToServer(live);
  }

  #message(
    { record, version, versionCount }: VisibleMessage,
    shown: Map<string, CachedMessage>,
    isQueued: boolean,
  ): ChatMessage {
    const live = this.#live.get(record.id);
    const before = this.#cache.get(record.id);
    const isSame =
      before?.record === record &&
      before.live === live &&
      before.isQueued === isQueued &&
      before.message.version === version &&
      before.message.versionCount === versionCount;
    const message = isSame
      ? before.message
      : record.role === 'user'
        ? userMessage(record, isQueued, version, versionCount)
        : assistantMessage(record, live, version, versionCount);
    shown.set(record.id, { message, record, live, isQueued });
    return message;
  }

  #status(messages: readonly ChatMessage[]): ChatStatus {
    const parts = [...this.#live.parts].map(({ snapshot }) => snapshot);
    if (parts.some(({ text }) => text !== '')) return 'streaming';
    const isShown = messages.some(
      (message) => message.role === 'assistant' && message.ending === undefined,
    );
    if (isShown || parts.some((part) => !isUnknownToServer(part))) return 'waiting';
    return this.#records.isLoaded || messages.length > 0 ? 'ready' : 'loading';
  }
}

/** @returns true if the server has not confirmed that it has the answer. */
export function isUnknownToServer({ requestId, attempt }: AnswerSnapshot): boolean {
  return requestId === undefined && attempt === 0;
}

function omittedOf(messages: readonly ChatMessage[]): number {
  const newest = messages.findLast((message) => message.role === 'assistant');
  return newest?.role === 'assistant' ? newest.answer.omittedMessages : 0;
}
