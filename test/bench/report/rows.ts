import type { StackName } from '../stacks/stack.js';

/** A line of the table: one figure of a measurement, and what Rivulet should reach. */
export interface Row {
  title: string;
  measurement: string;
  figure: string;
  unit: string;
  goal?: Goal;
}

/** Rivulet's figure, or its ratio to that of another stack in the same run. */
export type Goal =
  | { atMost: number; timesThatOf?: StackName }
  | { atLeast: number; timesThatOf?: undefined };

const CPU = 'µs';

export const ROWS: readonly Row[] = [
  {
    title: 'Server CPU a token, 1,000 streams x 20/s',
    measurement: 'paced-1000',
    figure: 'serverCpu',
    unit: CPU,
    goal: { atMost: 1.35, timesThatOf: 'ws' },
  },
  {
    title: 'Added latency there, p50',
    measurement: 'paced-1000',
    figure: 'p50',
    unit: 'ms',
    goal: { atMost: 1 },
  },
  {
    title: 'Added latency there, p99',
    measurement: 'paced-1000',
    figure: 'p99',
    unit: 'ms',
    goal: { atMost: 10 },
  },
  {
    title: 'Server CPU a token, 2,000 streams x 20/s',
    measurement: 'paced-2000',
    figure: 'serverCpu',
    unit: CPU,
    goal: { atMost: 1.35, timesThatOf: 'ws' },
  },
  {
    title: 'Delivered in time there',
    measurement: 'paced-2000',
    figure: 'delivered',
    unit: '%',
    goal: { atLeast: 100 },
  },
  {
    title: 'Added latency there, p99',
    measurement: 'paced-2000',
    figure: 'p99',
    unit: 'ms',
    goal: { atMost: 60 },
  },
  {
    title: 'Delivered in time, 4,000 streams x 20/s',
    measurement: 'paced-4000',
    figure: 'delivered',
    unit: '%',
    goal: { atLeast: 100 },
  },
  {
    title: 'Server CPU a token there',
    measurement: 'paced-4000',
    figure: 'serverCpu',
    unit: CPU,
  },
  { title: 'Added latency there, p99', measurement: 'paced-4000', figure: 'p99', unit: 'ms' },
  {
    title: 'Server CPU a token, bursts of 5, 1,000 streams x 100/s',
    measurement: 'bursts-5',
    figure: 'serverCpu',
    unit: CPU,
    goal: { atMost: 0.6, timesThatOf: 'ws' },
  },
  {
    title: 'Delivered in time there',
    measurement: 'bursts-5',
    figure: 'delivered',
    unit: '%',
  },
  {
    title: 'Added latency there, p50',
    measurement: 'bursts-5',
    figure: 'p50',
    unit: 'ms',
    goal: { atMost: 3 },
  },
  {
    title: 'Added latency there, p99',
    measurement: 'bursts-5',
    figure: 'p99',
    unit: 'ms',
    goal: { atMost: 15 },
  },
  {
    title: 'Server CPU a token, bursts of 16, 100 streams at full speed',
    measurement: 'full-100',
    figure: 'serverCpu',
    unit: CPU,
    goal: { atMost: 0.45, timesThatOf: 'ws' },
  },
  {
    title: 'Server CPU a token, bursts of 16, one stream at full speed',
    measurement: 'full-1',
    figure: 'serverCpu',
    unit: CPU,
    goal: { atMost: 0.8, timesThatOf: 'ws' },
  },
  {
    title: 'Client CPU a token, bursts of 16, 100 streams at full speed',
    measurement: 'full-100',
    figure: 'clientCpu',
    unit: CPU,
    goal: { atMost: 0.45, timesThatOf: 'ws' },
  },
  {
    title: 'First text, warm, p50',
    measurement: 'first-text',
    figure: 'p50',
    unit: 'ms',
    goal: { atMost: 2.5, timesThatOf: 'ws' },
  },
  {
    title: 'First text, warm, p99',
    measurement: 'first-text',
    figure: 'p99',
    unit: 'ms',
    goal: { atMost: 3, timesThatOf: 'ws' },
  },
  {
    title: 'Server cache hit, question to whole answer, p50',
    measurement: 'cache-hit',
    figure: 'p50',
    unit: 'ms',
    goal: { atMost: 5 },
  },
  {
    title: 'Idle connection, RSS',
    measurement: 'idle',
    figure: 'idleRss',
    unit: 'KB',
    goal: { atMost: 28 },
  },
  {
    title: 'Stream that waits for its first token, RSS',
    measurement: 'idle',
    figure: 'waitingRss',
    unit: 'KB',
    goal: { atMost: 36 },
  },
  {
    title: 'Stopped reader offered 2 MB, RSS',
    measurement: 'stopped-reader',
    figure: 'rss',
    unit: 'MB',
  },
  {
    title: 'Stopped reader, growth of RSS or heap to accounted bytes',
    measurement: 'stopped-reader',
    figure: 'toAccounted',
    unit: 'x',
    goal: { atMost: 2 },
  },
  {
    title: 'Server CPU a token, relay of an Ollama at full speed',
    measurement: 'relay-ollama',
    figure: 'serverCpu',
    unit: CPU,
    goal: { atMost: 1.15, timesThatOf: 'sio' },
  },
  {
    title: 'Server CPU a token, relay of Gemini at full speed',
    measurement: 'relay-gemini',
    figure: 'serverCpu',
    unit: CPU,
  },
  {
    title: 'Heap left of a stream that came and went',
    measurement: 'churn',
    figure: 'heapBytes',
    unit: 'B',
  },
];
