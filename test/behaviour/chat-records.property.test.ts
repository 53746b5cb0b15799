import { mergeChat, mergeMessage, type MessageRecord } from '@rivulet/client/chat';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { queueOf, visibleBranch } from '../../packages/client/src/chat/tree.js';

const time = fc.integer({ min: 1, max: 4 });
const id = fc.constantFrom('a', 'b', 'c', 'd');
const maybeId = fc.option(id, { nil: undefined });

const common = {
  version: fc.constant(1),
  id,
  chatId: fc.constant('chat'),
  parentId: maybeId,
  createdAt: time,
  updatedAt: time,
  selectedAt: time,
  isRemoved: fc.boolean(),
};
const question = fc.record({
  ...common,
  role: fc.constant('user'),
  text: fc.constantFrom('x', 'y', ''),
  status: fc.constantFrom('queued', 'sent'),
  replaces: maybeId,
  owner: fc.constantFrom('tab1', 'tab2'),
  request: fc.constant({}),
});
const part = fc.record({
  answer: fc.record({
    id: fc.constantFrom('s1', 's2'),
    query: fc.constant('x'),
    status: fc.constantFrom('waiting', 'streaming', 'done', 'cancelled', 'failed'),
    text: fc.constantFrom('', 'Wh', 'Where', 'Other'),
    attempt: fc.integer({ min: 0, max: 2 }),
    tools: fc.constant([]),
  }),
  lastTextAt: fc.option(time, { nil: undefined }),
  updatedAt: time,
});
const answer = fc
  .record({
    ...common,
    role: fc.constant('assistant'),
    parts: fc.array(part, { minLength: 1, maxLength: 3 }),
  })
  .map((record) => ({ ...record, parts: record.isRemoved ? [] : record.parts }));

/** Records of one message, as several tabs may have written them. */
const versions = (count: number) =>
  fc
    .oneof(
      fc.array(question, { minLength: count, maxLength: count }),
      fc.array(answer, { minLength: count, maxLength: count }),
    )
    .map((records) => records.map((each) => ({ ...each, id: 'a' })) as unknown as MessageRecord[]);

const chats = fc.array(
  fc.record({
    version: fc.constant(1),
    id: fc.constant('chat'),
    title: fc.constantFrom('', 'A', 'B'),
    titledAt: fc.integer({ min: 0, max: 2 }),
    createdAt: time,
    updatedAt: time,
    draft: fc.constantFrom('', 'x', 'y'),
    draftAt: time,
    units: fc.constant(1),
  }),
  { minLength: 3, maxLength: 3 },
);

const RUNS = { numRuns: 2_000 };

describe.each<[string, fc.Arbitrary<object[]>, (a: never, b: never) => object]>([
  ['messages', versions(3), mergeMessage],
  ['chats', chats, mergeChat],
])('merging %s', (_, triples, merge) => {
  const merged = (a: object | undefined, b: object | undefined): object =>
    merge(a as never, b as never);

  it('gives the same whichever tab wrote first, so that all tabs come to show the same', () => {
    fc.assert(
      fc.property(triples, ([a, b, c]) => {
        expect(merged(a, b)).toEqual(merged(b, a));
        expect(merged(merged(a, b), c)).toEqual(merged(a, merged(b, c)));
        expect(merged(a, a)).toEqual(a);
      }),
      RUNS,
    );
  });
});

describe('the visible branch', () => {
  const records = fc
    .array(fc.oneof(question, answer), { maxLength: 8 })
    .map((all) => all.map((each, i) => ({ ...each, id: 'abcdefgh'[i] })) as MessageRecord[]);

  it('has each message once, each after the one that it follows, and one of all versions', () => {
    fc.assert(
      fc.property(records, (all) => {
        const branch = visibleBranch(all).map(({ record }) => record);
        const ids = branch.map((record) => record.id);
        expect(new Set(ids).size).toBe(ids.length);
        for (const [i, { parentId, isRemoved }] of branch.entries()) {
          expect(isRemoved).toBe(false);
          if (parentId !== undefined) expect(ids.slice(0, i)).toContain(parentId);
        }
        const queued = new Set(queueOf(all).map((record) => record.id));
        expect(ids.filter((each) => queued.has(each))).toEqual([]);
      }),
      RUNS,
    );
  });

  it('has two questions that were sent at once from two tabs, one after the other', () => {
    const sent = { ...base('q1'), ...asked('one') };
    const other = { ...base('q2', 2), ...asked('two') };
    const answers = [answered('a1', 'q1'), answered('a2', 'q2')];
    const branch = visibleBranch([other, answers[1]!, sent, answers[0]!]);
    expect(branch.map(({ record }) => record.id)).toEqual(['q1', 'a1', 'q2', 'a2']);
    expect(branch.every(({ versionCount }) => versionCount === 1)).toBe(true);
  });
});

const base = (messageId: string, at = 1) => ({
  version: 1,
  id: messageId,
  chatId: 'chat',
  parentId: undefined,
  createdAt: at,
  updatedAt: at,
  selectedAt: at,
  isRemoved: false,
});
const asked = (text: string) =>
  ({ role: 'user', text, status: 'sent', replaces: undefined, owner: '', request: {} }) as const;
const answered = (messageId: string, parentId: string): MessageRecord => ({
  ...base(messageId),
  parentId,
  role: 'assistant',
  parts: [],
});
