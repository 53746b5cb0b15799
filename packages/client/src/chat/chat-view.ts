import { isFinal } from '../answer/snapshot.js';
import type { AnswerSnapshot } from '../types.js';
import type { ChatRecords } from './chat-records.js';
import type { LiveParts } from './live-parts.js';
import { assistantMessage, type LivePart, userMessage } from './message.js';
import type { MessageRecord } from './records.js';
import { queueOf, type Visible, visibleBranch } from './tree.js';
import type { ChatMessage, ChatSnapshot, ChatStatus } from './types.js';

/** A message as it was shown last, and what it was made of. */
interface Shown {
  readonly message: ChatMessage;
  readonly record: MessageRecord;
  readonly live: LivePart | undefined;
  readonly isQueued: boolean;
}

/** Makes the snapshots of a chat. A message is the same object as long as nothing of it changes. */
export class ChatView {
  readonly #records: ChatRecords;
  readonly #live: LiveParts;
  #shown = new Map<string, Shown>();
  #branch: readonly Visible[] = [];
  /** The state of the records that `#branch` and `#queue` were made of. */
  #revision = -1;
  #queue: readonly MessageRecord[] = [];

  constructor(records: ChatRecords, live: LiveParts) {
    this.#records = records;
    this.#live = live;
  }

  /** The visible branch, without what is queued. */
  get branch(): readonly Visible[] {
    if (this.#revision !== this.#records.revision) {
      this.#revision = this.#records.revision;
      this.#branch = visibleBranch(this.#records.all);
      this.#queue = queueOf(this.#records.all);
    }
    return this.#branch;
  }

  /** True if an answer of the visible branch is under way, in this tab or another. */
  get isUnderWay(): boolean {
    return this.branch.some(({ record }) => {
      const part = record.role === 'assistant' ? record.parts.at(-1) : undefined;
      return part !== undefined && !isFinal(part.answer);
    });
  }

  /** `before` is the snapshot before; the same object is returned if nothing is new. */
  snapshot(before: ChatSnapshot | undefined): ChatSnapshot {
    const { chat, storeError } = this.#records;
    const { branch } = this;
    const shown = new Map<string, Shown>();
    const unasked = branch.filter((visible) => this.#isUnasked(visible));
    const waiting = new Set(unasked.map(({ record }) => record.parentId));
    const messages = branch
      .filter((visible) => !unasked.includes(visible))
      .map((visible) => this.#message(visible, shown, waiting.has(visible.record.id)));
    for (const record of this.#queue) {
      messages.push(this.#message({ record, version: 0, versionCount: 1 }, shown, true));
    }
    this.#shown = shown;
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

  /** True for an answer that the server does not know of, as there is no connection: its question waits. */
  #isUnasked({ record, versionCount }: Visible): boolean {
    const live = this.#live.get(record.id)?.snapshot;
    const isFirst = record.role === 'assistant' && record.parts.length === 1 && versionCount === 1;
    return isFirst && live?.status === 'reconnecting' && isUnknown(live);
  }

  #message(
    { record, version, versionCount }: Visible,
    shown: Map<string, Shown>,
    isQueued: boolean,
  ): ChatMessage {
    const live = this.#live.get(record.id);
    const before = this.#shown.get(record.id);
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
    if (isShown || parts.some((part) => !isUnknown(part))) return 'waiting';
    return this.#records.isLoaded || messages.length > 0 ? 'ready' : 'loading';
  }
}

/** True if the server has not said that it has the answer. */
export function isUnknown({ requestId, attempt }: AnswerSnapshot): boolean {
  return requestId === undefined && attempt === 0;
}

function omittedOf(messages: readonly ChatMessage[]): number {
  const newest = messages.findLast((message) => message.role === 'assistant');
  return newest?.role === 'assistant' ? newest.answer.omittedMessages : 0;
}
