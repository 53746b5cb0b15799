import { setImmediate as nextTurn } from 'node:timers/promises';
import { createLogView } from '../../packages/server/src/deliver/log-view.js';
import { createLog, type Log } from '../../packages/server/src/deliver/log.js';
import { StreamRegistry } from '../../packages/server/src/deliver/stream-registry.js';
import type { Entry, ErrorEntry } from '../../packages/server/src/entry.js';
import { generateFrom } from './generate.js';

// Runs in a process of its own: `node --expose-gc log-memory.mjs <shape>`. The process fills logs with
// entries of one shape and writes a `LogMemory` to stdout as JSON.

/** The memory of logs, in bytes. */
export interface LogMemory {
  /** The bytes that the logs account for. */
  accounted: number;
  /** Growth of the heap, and of what is outside it, after a collection. */
  heap: number;
  /** Growth of the process at its largest. */
  rss: number;
}

export type Shape = keyof typeof SHAPES;

/** Makes the next token: a string that nothing else holds. */
type NextToken = () => string;

/** The objects that have to stay in memory, and the bytes that they account for. */
interface Held {
  content: unknown;
  accounted: number;
}

const LIMITS = {
  maxStreamsPerPrincipal: 64,
  detachTimeoutMs: 2_000,
  disconnectTimeoutMs: 60_000,
  finishedRetentionMs: 300_000,
};
const START: Entry = { type: 'start', attempt: 1, source: 'model', provider: 'p', model: 'm' };
const CANCELLED: ErrorEntry = { type: 'error', code: 'cancelled', message: 'unable to go on' };

const SHAPES = {
  '1-unit tokens': () => texts(10, 200_000, flatTokens(1, 'abc')),
  '5-unit tokens': () => texts(10, 400_000, flatTokens(5, 'abc')),
  '5-unit tokens of short answers': () => texts(400, 10_000, flatTokens(5, 'abc')),
  '100-unit tokens': () => texts(10, 400_000, flatTokens(100, 'abc')),
  '10,000-unit tokens': () => texts(10, 400_000, flatTokens(10_000, 'abc')),
  emoji: () => texts(10, 400_000, flatTokens(2, '🦊')),
  'Chinese 5-unit tokens': () => texts(10, 400_000, flatTokens(5, '河流入海')),
  '5-unit slices of long strings': () => texts(40, 20_000, slices(5)),
  '20-unit slices of long strings': () => texts(40, 20_000, slices(20)),
  '2,000-unit slices of long strings': () => texts(10, 400_000, slices(2_000)),
  'concatenated tokens': () => texts(10, 400_000, ropes(20)),
  'tool results': () => toolResults(20, 2_000),
  'long text in tool results': () => toolResults(10, 1, 'x'.repeat(200_000)),
  'empty logs': () => logs(100_000, () => {}),
  'logs of a few words': () => logs(20_000, fillBriefly),
  'streams of a few words, as many as there is room for': () => streams(5_000, 8_000_000),
  'many long answers': () => texts(100, 1_000_000, flatTokens(5, '河流入海')),
};

function logs(count: number, fill: (log: Log, i: number) => void): Held {
  const content = Array.from({ length: count }, (_, i) => {
    const log = createLog();
    const view = createLogView(log);
    fill(log, i);
    return view;
  });
  return { content, accounted: content.reduce((sum, view) => sum + view.bytes, 0) };
}

/** Logs of answers under way, which nobody has read. */
function texts(count: number, units: number, nextToken: NextToken): Held {
  return logs(count, (log) => {
    log.append(START);
    while (log.head <= units) log.append({ type: 'text', text: nextToken() });
  });
}

function fillBriefly(log: Log, i: number): void {
  log.append(START);
  for (const text of ['Where', ' a', ' river', ` ends ${i}`]) log.append({ type: 'text', text });
  log.append({ ...CANCELLED, message: `unable to go on: ${i}` });
}

/** Tokens as a JSON parser makes them. */
function flatTokens(units: number, alphabet: string): NextToken {
  const text = alphabet.repeat(units + 1);
  let made = 0;
  return () => {
    const from = alphabet.length * (made++ % 2);
    return Buffer.from(text.slice(from, from + units), 'utf16le').toString('utf16le');
  };
}

/** Slices of strings of 64,000 units, ten from each. */
function slices(units: number): NextToken {
  let parent = '';
  let made = 0;
  return () => {
    if (made % 10 === 0) parent = Buffer.alloc(64_000, `river ${made} `).toString('latin1');
    const from = (made++ % 10) * units;
    return parent.slice(from, from + units);
  };
}

function ropes(pieces: number): NextToken {
  const nextPiece = flatTokens(5, 'abc');
  return () => Array.from({ length: pieces }, nextPiece).reduce((text, piece) => text + piece);
}

/** Logs with one result each: rows of small objects, and `text`. */
function toolResults(count: number, rows: number, text = ''): Held {
  return logs(count, (log, i) => {
    const result = Array.from({ length: rows }, (_, n) => ({
      id: n,
      at: { x: n + 0.5, y: -n },
      tags: [[`${i}`], [n], []],
      text: `${text}${n}`,
    }));
    log.append(START);
    log.append({ type: 'tool_result', callId: 'call-1', name: 't', result });
  });
}

/** Starts `count` streams that end at once; older ones leave when `maxLogBytes` are reached. */
async function streams(count: number, maxLogBytes: number): Promise<Held> {
  const registry = new StreamRegistry(
    generateFrom(async function* ({ query }) {
      yield START;
      yield { type: 'text', text: query };
      yield CANCELLED;
    }),
    { ...LIMITS, maxLogBytes },
  );
  for (let i = 0; i < count; i++) {
    const principal = `principal-${i % 1_000}`;
    const query = `Where does river ${i} end?`;
    const identity = { principal, id: `stream-${i}`, sessionId: undefined, query };
    registry.start(identity, { query, principal });
    await nextTurn();
  }
  return { content: registry, accounted: maxLogBytes };
}

function memory(): { heap: number; rss: number } {
  for (let i = 0; i < 5; i++) gc?.();
  const { heapUsed, external, rss } = process.memoryUsage();
  // `external` includes `arrayBuffers`.
  return { heap: heapUsed + external, rss };
}

const fill = SHAPES[process.argv[2] as Shape];
const before = memory();
const { content, accounted } = await fill();
const after = memory();
const peakRss = process.resourceUsage().maxRSS * 1_024;
const measured: LogMemory = {
  accounted,
  heap: after.heap - before.heap,
  rss: peakRss - before.rss,
};
process.stdout.write(JSON.stringify(measured));
// Keeps the content alive until here, and leaves no timer.
process.exit(content === undefined ? 1 : 0);
