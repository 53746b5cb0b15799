/** A call as a fake makes it. */
export interface FakeCall {
  name: string;
  arguments: unknown;
}

/** One turn of a fake: tool calls, or an answer with the results of the tools. */
export type FakeTurn = { calls: readonly FakeCall[] } | 'answer';

const search: FakeCall = { name: 'search_docs', arguments: { query: 'offset' } };
const time: FakeCall = { name: 'current_time', arguments: { time_zone: 'Europe/Berlin' } };

/** The calls of each turn, by the first word of the question. */
const SCRIPTS: Readonly<Record<string, readonly (readonly FakeCall[])[]>> = {
  // As `npm run test:live` asks every model.
  Call: [[time]],
  'tool-once': [[search]],
  'tool-two': [[search, time]],
  'tool-two-frames': [[search, time]],
  'tool-two-turns': [[search], [time]],
  'tool-unknown': [[{ name: 'launch_rocket', arguments: {} }]],
  'tool-bad-arguments': [[{ name: 'search_docs', arguments: { query: 7 } }]],
  'tool-no-object': [[{ name: 'search_docs', arguments: 'offset' }]],
  'tool-bad-zone': [[{ name: 'current_time', arguments: { time_zone: 'Mars' } }]],
};

/** Calls without an end: until it is told to stop, or not even then. */
const ENDLESS = ['tool-endless', 'tool-stubborn'];

export const TOOL_WORDS: readonly string[] = [...Object.keys(SCRIPTS), ...ENDLESS];

/** The turn after `turns` turns of calls. `mayCall` is true if calls are allowed. */
export function nextTurn(question: string, turns: number, mayCall: boolean): FakeTurn {
  const word = question.trim().split(/\s/, 1)[0] ?? '';
  if (word === 'tool-stubborn') return { calls: [search] };
  if (!mayCall) return 'answer';
  if (word === 'tool-endless') return { calls: [search] };
  const calls = SCRIPTS[word]?.[turns];
  return calls === undefined ? 'answer' : { calls };
}
