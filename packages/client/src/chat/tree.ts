import type { AssistantRecord, MessageRecord, UserRecord } from './records.js';

/** A message of the visible branch, and its place among its versions. */
export interface Visible {
  readonly record: MessageRecord;
  readonly version: number;
  readonly versionCount: number;
}

/**
 * The visible branch of a chat, without what is queued. Versions of one message are siblings: of each group
 * of versions one is visible. Two questions that were sent at once from two tabs are siblings, too, but
 * no versions of each other: the later one follows the branch of the earlier one.
 */
export function visibleBranch(records: Iterable<MessageRecord>): Visible[] {
  const children = groupBy(records);
  const branch: Visible[] = [];
  // A loop of parents, in a store that was damaged, must not be followed for ever.
  const seen = new Set<string>();

  const pending = followers(undefined);

  function followers(parentId: string | undefined): (readonly MessageRecord[])[] {
    return versionsOf(children.get(parentId) ?? []).toReversed();
  }

  for (let versions; (versions = pending.pop()) !== undefined;) {
    const shown = selectedOf(versions);
    if (seen.has(shown.id)) continue;
    seen.add(shown.id);
    const version = versions.indexOf(shown);
    branch.push({ record: shown, version, versionCount: versions.length });
    pending.push(...followers(shown.id));
  }
  return branch;
}

/** @returns the queued questions, in the order in which they are asked. */
export function queueOf(records: Iterable<MessageRecord>): UserRecord[] {
  const queued = [...records].filter(
    (record): record is UserRecord =>
      record.role === 'user' && record.status === 'queued' && !record.isRemoved,
  );
  return queued.sort(byAge);
}

/** The versions of a message, itself included, oldest first. */
export function versionsOfMessage(
  records: Iterable<MessageRecord>,
  { id, parentId }: MessageRecord,
): readonly MessageRecord[] {
  const siblings = groupBy(records).get(parentId) ?? [];
  return versionsOf(siblings).find((versions) => versions.some((other) => other.id === id)) ?? [];
}

/** The message and all that follows it, on every branch. */
export function subtreeOf(records: Iterable<MessageRecord>, root: MessageRecord): MessageRecord[] {
  const children = groupBy(records);
  const found = new Set([root]);
  // A set is iterated over what is added to it meanwhile.
  for (const { id } of found) for (const child of children.get(id) ?? []) found.add(child);
  return [...found];
}

function groupBy(records: Iterable<MessageRecord>): Map<string | undefined, MessageRecord[]> {
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

/** The answers of a question first, then the questions that follow; each group oldest first. */
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

/** The id of the version that the others replace, directly or not. */
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
