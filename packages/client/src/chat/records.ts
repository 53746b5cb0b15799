import { StreamError, type ErrorCode, ERRORS } from '@rivulet/protocol';
import type { AnswerRequest, AnswerSnapshot, AnswerStatus } from '../types.js';

/** The version of the records that this client writes. */
export const RECORD_VERSION = 1;

/** The stored form of a chat, without its messages. Plain JSON; times are in milliseconds since 1970. */
export interface ChatRecord {
  readonly version: number;
  readonly id: string;
  /** Empty until the first question. */
  readonly title: string;
  /** The time of the last renaming; 0 for a title from the first question. */
  readonly titledAt: number;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly draft: string;
  /** The time of the last change of the draft. */
  readonly draftAt: number;
  /** The size of its messages, in UTF-16 units of JSON. */
  readonly units: number;
}

interface BaseRecord {
  readonly version: number;
  readonly id: string;
  readonly chatId: string;
  /** The id of the message before this one; undefined for the first. */
  readonly parentId: string | undefined;
  readonly createdAt: number;
  readonly updatedAt: number;
  /** The time of the last selection, in milliseconds since 1970. The version that was selected last is visible. */
  readonly selectedAt: number;
  /** A removed message stays as a record without content, so that another tab does not bring it back. */
  readonly isRemoved: boolean;
}

export type QuestionRequest = Pick<AnswerRequest, 'intent' | 'sessionId' | 'options'>;

/** The stored form of a question. */
export interface UserRecord extends BaseRecord {
  readonly role: 'user';
  readonly text: string;
  readonly status: 'queued' | 'sent';
  /** The id of the message of which this is another version. */
  readonly replaces: string | undefined;
  /** The id of the page that sends the question while it is queued. */
  readonly owner: string;
  /** The request without its abort signal. */
  readonly request: QuestionRequest;
}

/** The stored form of a part of an answer. Times are in milliseconds since 1970. */
export interface PartRecord {
  readonly answer: StoredAnswer;
  readonly lastTextAt: number | undefined;
  readonly updatedAt: number;
}

/** A snapshot as plain JSON. */
export type StoredAnswer = Omit<AnswerSnapshot, 'error'> & {
  readonly error:
    | {
        readonly code: ErrorCode;
        readonly message: string;
        readonly retryable: boolean;
        readonly retryAfterMs: number | undefined;
      }
    | undefined;
};

/** The stored form of an answer. */
export interface AssistantRecord extends BaseRecord {
  readonly role: 'assistant';
  readonly parts: readonly PartRecord[];
}

export type MessageRecord = UserRecord | AssistantRecord;

function storedAnswer(snapshot: AnswerSnapshot): StoredAnswer {
  const { error } = snapshot;
  if (error === undefined) return { ...snapshot, error };
  const { code, message, retryable, retryAfterMs } = error;
  return { ...snapshot, error: { code, message, retryable, retryAfterMs } };
}

/** @returns the same object for the same answer. */
export function snapshotOfStored(answer: StoredAnswer): AnswerSnapshot {
  const known = snapshots.get(answer);
  if (known !== undefined) return known;
  const { code, message, ...options } = answer.error ?? {};
  const error =
    code && new StreamError(code, message ?? '', { ...options, partialText: answer.text });
  const snapshot = Object.freeze({ ...answer, error } as AnswerSnapshot);
  snapshots.set(answer, snapshot);
  return snapshot;
}

const snapshots = new WeakMap<StoredAnswer, AnswerSnapshot>();

/** @returns the text of a question, or the joined text of all parts of an answer. */
export function textOf(record: MessageRecord): string {
  if (record.role === 'user') return record.text;
  return record.parts.map(({ answer }) => answer.text).join('');
}

/** @returns the stored form of a snapshot. Times are in milliseconds since 1970. */
export function partOf(
  snapshot: AnswerSnapshot,
  lastTextAt: number | undefined,
  updatedAt: number,
): PartRecord {
  return { answer: storedAnswer(snapshot), lastTextAt, updatedAt };
}

/** @returns the answer with its newest part replaced. */
export function withPart(record: AssistantRecord, part: PartRecord): AssistantRecord {
  const parts = [...record.parts.slice(0, -1), part];
  return { ...record, parts, updatedAt: part.updatedAt };
}

/** @returns the record of the removed message, which tells other tabs that it was removed. */
export function withoutContent(record: MessageRecord, now: number): MessageRecord {
  const removed = { ...record, isRemoved: true, updatedAt: now };
  if (removed.role === 'user') return { ...removed, text: '', request: {} };
  return { ...removed, parts: [] };
}

/**
 * Merges the records of a chat from two tabs. The result does not depend on the order of the arguments, so all tabs
 * converge on the same record.
 *
 * @throws {Error} if a newer client wrote one of them; it must not be replaced.
 */
export function mergeChat(a: ChatRecord, b: ChatRecord): ChatRecord {
  if (isOfNewerVersion(a) || isOfNewerVersion(b)) throw newerVersionError();
  const { title, titledAt } = greater(a, b, (chat) => [chat.titledAt, chat.title]);
  const { draft, draftAt } = greater(a, b, (chat) => [chat.draftAt, chat.draft]);
  const { updatedAt, units } = greater(a, b, (chat) => [chat.updatedAt, chat.units]);
  const createdAt = Math.min(a.createdAt, b.createdAt);
  const { version, id } = a;
  return { version, id, title, titledAt, createdAt, updatedAt, draft, draftAt, units };
}

/**
 * Merges the records of a message from two tabs. A removal wins, then a sent question, then the newer record. The
 * result does not depend on the order of the arguments.
 *
 * @throws {Error} if a newer client wrote one of them; it must not be replaced.
 */
export function mergeMessage(a: MessageRecord, b: MessageRecord): MessageRecord {
  if (isOfNewerVersion(a) || isOfNewerVersion(b)) throw newerVersionError();
  const selectedAt = Math.max(a.selectedAt, b.selectedAt);
  const newer = greater<MessageRecord>(a, b, (record) => [
    Number(record.isRemoved),
    record.role === 'user' ? Number(record.status === 'sent') : record.parts.length,
    record.updatedAt,
    JSON.stringify({ ...record, selectedAt, parts: [] }),
  ]);
  if (newer.role === 'user' || a.role === 'user' || b.role === 'user') {
    return { ...newer, selectedAt };
  }
  const parts = newer.parts.map((part, i) => {
    const [ofA = part, ofB = part] = [a.parts[i], b.parts[i]];
    return greater(ofA, ofB, orderOfPart);
  });
  return { ...newer, parts, selectedAt };
}

const RANK: Partial<Record<AnswerStatus, number>> = { done: 3, cancelled: 2, failed: 1 };

function orderOfPart(part: PartRecord): Order {
  const { status, attempt, text } = part.answer;
  return [RANK[status] ?? 0, attempt, text.length, part.updatedAt, JSON.stringify(part)];
}

type Order = readonly (number | string)[];

/** @returns the argument whose order is greater, compared field by field. */
function greater<T>(a: T, b: T, orderOf: (value: T) => Order): T {
  const order = orderOf(b);
  for (const [i, field] of orderOf(a).entries()) {
    const other = order[i];
    if (other !== undefined && field !== other) return field > other ? a : b;
  }
  return a;
}

/**
 * Migrates records of older clients: the function at index `n` turns a record of version `n + 1` into
 * one of version `n + 2`.
 */
const MIGRATIONS: readonly ((record: Record<string, unknown>) => Record<string, unknown>)[] = [];

function toNewestVersion(value: unknown): Record<string, unknown> | undefined {
  let record = Object(value) as Record<string, unknown>;
  const { version } = record;
  if (!Number.isInteger(version) || Number(version) < 1 || Number(version) > RECORD_VERSION) {
    return undefined;
  }
  for (const migrate of MIGRATIONS.slice(Number(version) - 1)) record = migrate(record);
  return record;
}

/** @returns true if a newer client wrote the value. Writing over it would lose what this client does not know. */
export function isOfNewerVersion(value: unknown): boolean {
  return Number((Object(value) as Partial<ChatRecord>).version) > RECORD_VERSION;
}

export function newerVersionError(): Error {
  return new Error(
    'unable to use the stored chat: a newer version of this app has stored it; reload the page',
  );
}

/** @returns undefined if the value is not a valid record, for example one of a newer client. */
export function readChatRecord(value: unknown): ChatRecord | undefined {
  const record = toNewestVersion(value) as Partial<ChatRecord> | undefined;
  if (record === undefined) return undefined;
  const { id, title, titledAt, createdAt, updatedAt, draft, draftAt, units } = record;
  const areTexts = [id, title, draft].every((field) => typeof field === 'string');
  const areNumbers = [titledAt, createdAt, updatedAt, draftAt, units].every(Number.isFinite);
  return areTexts && areNumbers ? (record as ChatRecord) : undefined;
}

/** @returns undefined if the value is not a valid record, for example one of a newer client. */
export function readMessageRecord(value: unknown): MessageRecord | undefined {
  const record = toNewestVersion(value) as Partial<MessageRecord> | undefined;
  if (record === undefined || !isMessage(record)) return undefined;
  const isKnown =
    record.role === 'user'
      ? isQuestion(record)
      : record.parts.every(isPart) && (record.isRemoved || record.parts.length > 0);
  return isKnown ? record : undefined;
}

function isMessage(record: Partial<MessageRecord>): record is MessageRecord {
  const { id, chatId, parentId = '', createdAt, updatedAt, selectedAt, isRemoved, role } = record;
  return (
    [id, chatId, parentId].every((field) => typeof field === 'string') &&
    [createdAt, updatedAt, selectedAt].every(Number.isFinite) &&
    typeof isRemoved === 'boolean' &&
    (role === 'user' || (role === 'assistant' && 'parts' in record && Array.isArray(record.parts)))
  );
}

function isQuestion({ text, status, replaces = '', owner, request }: UserRecord): boolean {
  return (
    [text, replaces, owner].every((field) => typeof field === 'string') &&
    (status === 'queued' || status === 'sent') &&
    typeof request === 'object' &&
    request !== null
  );
}

const STATUSES: ReadonlySet<unknown> = new Set([
  'queued',
  'loading',
  'waiting',
  'streaming',
  'reconnecting',
  'done',
  'cancelled',
  'failed',
]);

function isPart(part: PartRecord): boolean {
  const { id, query, text, tools, attempt, status, error } = Object(
    Object(part).answer,
  ) as StoredAnswer;
  return (
    [id, query, text].every((field) => typeof field === 'string') &&
    Array.isArray(tools) &&
    Number.isFinite(attempt) &&
    Number.isFinite(part.updatedAt) &&
    STATUSES.has(status) &&
    (status !== 'failed' || (error !== undefined && error.code in ERRORS))
  );
}
