import { setTimeout as wait } from 'node:timers/promises';
import { monotonicMs } from '../tokens/clock.js';
import { createRecorder, type Recorder } from '../tokens/recorder.js';
import {
  type ConnectOptions,
  type Connection,
  loadStack,
  type StackName,
} from '../stacks/stack.js';
import type { StreamRequest } from '../tokens/upstream.js';
import { startProfile, stopProfile } from './profile.js';
import { answerCalls } from './remote.js';
import { usage } from './usage.js';

// All clients of one stack.

/** Connections that are opened at the same time. */
const CONNECTING = 50;

const stack = await loadStack(process.argv[2] as StackName);
let connections: Connection[] = [];

/** The outcomes of streams. */
export interface Outcome {
  /** Tokens that came, of all streams. */
  tokens: number;
  /** Streams that brought wrong text, or ended without all of it. */
  wrong: number;
  /** Streams that had not ended at the deadline. */
  unfinished: number;
  /** The arrival times of the tokens, for each timed request by its id. */
  arrivedAt: Map<number, Float64Array>;
}

/** Milliseconds from a question to its first text, and to its end. */
export interface Asked {
  firstMs: number[];
  wholeMs: number[];
  wrong: number;
}

async function read(connection: Connection, request: StreamRequest, recorder: Recorder) {
  await connection.stream(request, recorder.take);
}

async function outcomeOf(
  streams: { ended: Promise<void>; recorder: Recorder; id: number }[],
  deadlineMs: number,
): Promise<Outcome> {
  const outcome: Outcome = { tokens: 0, wrong: 0, unfinished: 0, arrivedAt: new Map() };
  const endedStreams = new Set<Recorder>();
  const all = streams.map(async ({ ended, recorder }) => {
    await ended;
    endedStreams.add(recorder);
  });
  await Promise.race([Promise.all(all), wait(deadlineMs)]);
  for (const { recorder, id } of streams) {
    const hasEnded = endedStreams.has(recorder);
    outcome.tokens += recorder.tokens;
    if (!(hasEnded ? recorder.isComplete() : recorder.isRight())) outcome.wrong++;
    if (!hasEnded) outcome.unfinished++;
    if (recorder.arrivedAt !== undefined) outcome.arrivedAt.set(id, recorder.arrivedAt);
  }
  return outcome;
}

const commands = {
  async connect(url: string, count: number, options: ConnectOptions) {
    for (let left = count; left > 0; left -= CONNECTING) {
      const some = Array.from({ length: Math.min(left, CONNECTING) }, () =>
        stack.connect(url, options),
      );
      connections.push(...(await Promise.all(some)));
    }
  },
  disconnect() {
    for (const connection of connections) connection.close();
    connections = [];
  },
  /** Each request goes to the connection of its place. Resolves when all have ended, or at the deadline. */
  run(requests: StreamRequest[], deadlineMs: number): Promise<Outcome> {
    const streams = requests.map((request, i) => {
      const recorder = createRecorder(request);
      const connection = connections[i % connections.length]!;
      return { ended: read(connection, request, recorder), recorder, id: request.id };
    });
    return outcomeOf(streams, deadlineMs);
  },
  /** The first connection asks, all others watch. Times are kept by the place of the connection. */
  async watch(request: StreamRequest, deadlineMs: number): Promise<Outcome> {
    const streams = connections.map((connection, i) => {
      const recorder = createRecorder(request);
      const ended =
        i === 0 ? read(connection, request, recorder) : connection.watch!(request, recorder.take);
      return { ended, recorder, id: i };
    });
    return outcomeOf(streams, deadlineMs);
  },
  /** Asks on the first connection, one request after another. */
  async ask(requests: StreamRequest[]): Promise<Asked> {
    const asked: Asked = { firstMs: [], wholeMs: [], wrong: 0 };
    for (const request of requests) {
      const recorder = createRecorder(request);
      const startedAt = monotonicMs();
      await read(connections[0]!, request, recorder);
      asked.wholeMs.push(monotonicMs() - startedAt);
      asked.firstMs.push((recorder.firstAtMs ?? NaN) - startedAt);
      if (!recorder.isComplete()) asked.wrong++;
    }
    return asked;
  },
  /** Asks on every connection, and waits for nothing. */
  start(requests: StreamRequest[]) {
    for (const [i, request] of requests.entries()) {
      void read(connections[i % connections.length]!, request, createRecorder(request));
    }
  },
  usage,
  startProfile,
  stopProfile,
};
export type ClientCommands = typeof commands;

// Streams that are under way when their connection is closed.
process.on('unhandledRejection', () => {});
answerCalls(commands);
