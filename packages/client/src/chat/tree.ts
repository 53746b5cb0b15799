import type { AssistantRecord, MessageRecord, UserRecord } from './records.js';

/** A message of the visible branch, and its position among its versions. */
export interface VisibleMessage {
  readonly record: MessageRecord;
  readonly version: number;
  readonly versionCount: number;
}

/**
 * @returns the visible branch of a chat, without queued questions. Versions of one message are siblings, and one
 * version of each group is visible. Two questions that two tabs sent at the same time are siblings but not versions
 * of each other: the later one follows the branch of the earlier one.
 */
export function visibleBranch(records: Iterable<MessageRecord>): VisibleMessage[] {
  const children = groupByParent(records);
  const branch: VisibleMessage[] = [];
  // A damaged store may contain a cycle of parents.
  const seen = new Set<string>();

  const pending = followers(undefined);

  function followers(parentId: string | undefined): (readonly MessageRecord[])[] {
    return versionsOf(children.get(parentId) ?? []).toReversed();
  }

  for (let versions; (versions = pending.pop()) !== undefined;) {
    const selected = selectedOf(versions);
    if (seen.has(selected.id)) continue;
    seen.add(selected.id);
    const version = versions.indexOf(selected);
    branch.push({ record: selected, version, versionCount: versions.length });
    pending.push(...followers(selected.id));
  }
  return branch;
}

/** @returns the queued questions, in the order in which they are sent. */
export function queueOf(records: Iterable<MessageRecord>): UserRecord[] {
  const queued = [...records].filter(
    (record): record is UserRecord =>
      record.role === 'user' && record.status === 'queued' && !record.isRemoved,
  );
  return queued.sort(byAge);
}

/** @returns the versions of a message, including the message, oldest first. */
export function versionsOfMessage(
  records: Iterable<MessageRecord>,
  { id, parentId }: MessageRecord,
): readonly MessageRecord[] {
  const siblings = groupByParent(records).get(parentId) ?? [];
  return versionsOf(siblings).find((versions) => versions.some((other) => other.id === id)) ?? [];
}

/** @returns the message and all messages that follow it, on every branch. */
export function subtreeOf(records: Iterable<MessageRecord>, root: MessageRecord): MessageRecord[] {
  const children = groupByParent(records);
  const found = new Set([root]);
  // The iteration over a set includes values that are added meanwhile.
  for (const { id } of found) for (const child of children.get(id) ?? []) found.add(child);
  return [...found];
}

function groupByParent(records: Iterable<MessageRecord>): Map<string | undefined, MessageRecord[]> {
  const groups = new Map<string | undefined, MessageRecord[]>();
  for (const record of records) {
    const isQueued = record.role === 'user' && record.status === 'queued';
    if (record.isRemoved || isQueued) continue;
    const group = groups.get(record.parentId);
    if (group) group.push(record);
    else groups.set(record.parentId, [record]);
  }
  return groups;
}

/** Groups siblings by version: the answers first, then each question with its versions, oldest first. */
function versionsOf(siblings: readonly MessageRecord[]): (readonly MessageRecord[])[] {
  const answers = siblings.filter(
    (record): record is AssistantRecord => record.role === 'assistant',
  );
  const questions = siblings.filter((record): record is UserRecord => record.role === 'user');
  const byId = new Map(questions.map((question) => [question.id, question]));
  const groups = new Map<string, MessageRecord[]>();
  for (const question of questions.sort(byAge)) {
    const first = firstVersion(question, byId);
    const group = groups.get(first);
    if (group) group.push(question);
    else groups.set(first, [question]);
  }
  return [...(answers.length > 0 ? [answers.sort(byAge)] : []), ...groups.values()];
}

/** @returns the id of the version that the others replace, directly or indirectly. */
function firstVersion(question: UserRecord, byId: ReadonlyMap<string, UserRecord>): string {
  const seen = new Set<string>();
  let first = question.id;
  let replaced = question.replaces;
  while (replaced !== undefined && !seen.has(replaced)) {
    seen.add(replaced);
    first = replaced;
    replaced = byId.get(replaced)?.replaces;
  }
  return first;
}

function selectedOf(versions: readonly MessageRecord[]): MessageRecord {
  return versions.reduce((best, other) => (other.selectedAt >= best.selectedAt ? other : best));
}

function byAge(a: MessageRecord, b: MessageRecord): number {
  return a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1);
}
