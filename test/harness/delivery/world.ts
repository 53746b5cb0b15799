import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { resolveSettings } from '@rivulet/server';
import type { ErrorEntry } from '../../../packages/server/src/entry.js';
import type { Stream } from '../../../packages/server/src/deliver/stream.js';
import { StreamRegistry } from '../../../packages/server/src/deliver/stream-registry.js';
import { FAILURE, Generation } from './generation.js';
import { ModelReader, type ModelStream } from './model-reader.js';
import type { WorldClock } from './world-clock.js';
import { hasEnded, readable, toldBy, upTo, withEntry } from './truth.js';
import { generateFrom } from '../generate.js';

const PRINCIPAL = 'p';
const AGES_MS = 1e9;
// No stream ends or is dropped unless the test does it.
const LIMITS = {
  ...resolveSettings({ env: {} }).limits,
  maxStreamsPerPrincipal: 1_000,
  detachTimeoutMs: AGES_MS,
  disconnectTimeoutMs: AGES_MS,
  finishedRetentionMs: AGES_MS,
};
/** The longest that a busy process lets its readers wait. */
const LONGEST_WAIT_MS = 160;
/** To a plain reader the text cannot begin again. */
const CANNOT_RESTART: ErrorEntry = { type: 'error', code: 'provider_unavailable', message: '' };
const CANCELLED: ErrorEntry = { type: 'error', code: 'cancelled', message: '' };

interface WorldStream extends ModelStream {
  generation: Generation;
  /** Its own end, before that of its generation, and where. */
  cut: { at: number; entry: ErrorEntry } | undefined;
}

/** A server's streams and those who read them. Nothing happens in it but what a test does. */
export class World {
  readonly streams: WorldStream[] = [];
  readonly readers: ModelReader[] = [];
  generations: Generation[] = [];
  readonly #clock: WorldClock;
  #server = this.#createServer();

  constructor(clock: WorldClock) {
    this.#clock = clock;
    clock.isBusy = false;
  }

  set isBusy(isBusy: boolean) {
    this.#clock.isBusy = isBusy;
  }

  /** Asks, and reads what comes. */
  ask(query: string, window: number | undefined): void {
    const stream = this.#start(query);
    const reader = new ModelReader(`reader-${this.readers.length}`, stream, window);
    this.readers.push(reader);
    this.resume(reader);
  }

  /** Another reader of a stream. */
  join(stream: WorldStream, window: number | undefined): void {
    const reader = new ModelReader(`reader-${this.readers.length}`, stream, window);
    this.readers.push(reader);
    this.resume(reader);
  }

  /** As the SDK does, no reader attaches while there is more on its way to it. */
  resume(reader: ModelReader): void {
    if (reader.isUpToDate) reader.resume(this.find(reader));
  }

  deliver(reader: ModelReader, count: number): void {
    reader.deliver(count, this.find(reader));
    // As the SDK does where nothing was shown yet.
    if (!reader.isLost || reader.received.offset > 0) return;
    reader.moveTo(this.#start(reader.stream.query));
    this.resume(reader);
  }

  find(reader: ModelReader): () => Stream {
    return () => this.#server.get(PRINCIPAL, reader.stream.id);
  }

  /** The same question under the same name is asked once. */
  repeat({ id, query }: WorldStream): void {
    if (!this.#knows(id)) return;
    const before = this.generations.length;
    assert.equal(this.#server.start(identity(id), { query }).id, id);
    assert.equal(this.generations.length, before, 'what is known is not generated again');
  }

  cancel(stream: WorldStream): void {
    if (!this.#knows(stream.id)) return;
    cut(stream, CANCELLED);
    this.#server.cancel(this.#server.get(PRINCIPAL, stream.id));
  }

  /** The server drops every log, and says so. */
  dropAll(): void {
    for (const reader of this.readers) {
      reader.forgetLate();
      // Messages of an earlier connection are dropped, as with real connections.
      if (reader.isAhead) reader.cut(0);
    }
    this.#server.forgetPrincipal(PRINCIPAL);
    this.generations = [];
  }

  /** The server is another one, which knows nothing. */
  restart(late: number): void {
    for (const reader of this.readers) reader.crash(late);
    this.#server.close();
    this.#server = this.#createServer();
    this.generations = [];
  }

  /** Everything happens that was said. */
  async turn(): Promise<void> {
    await nextTurn();
    this.#clock.pass(LONGEST_WAIT_MS);
  }

  /** Links are good and clients do what they should until nothing moves any more. */
  async settle(): Promise<void> {
    await this.turn();
    for (let moved = true; moved;) {
      moved = false;
      for (const reader of this.readers) {
        const { offset, terminal } = reader.received;
        reader.unblock();
        if (!reader.isConnected) this.resume(reader);
        this.deliver(reader, Infinity);
        reader.ackLazily();
        moved ||= offset !== reader.received.offset || terminal !== reader.received.terminal;
      }
      await this.turn();
      moved ||= this.readers.some((reader) => !reader.isUpToDate);
    }
  }

  /** Every reader has all there is. */
  checkSettled(): void {
    for (const reader of this.readers) {
      reader.check();
      if (reader.isDone) continue;
      const truth = reader.stream.truth();
      assert.equal(reader.received.offset, readable(truth), 'a reader has all there is');
      const { generation } = this.streams.find(({ id }) => id === reader.stream.id)!;
      if (readable(truth) < truth.units.length) continue;
      assert.equal(reader.received.ahead, generation.ahead, 'a reader knows its place');
    }
  }

  close(): void {
    this.#server.close();
  }

  #createServer() {
    return new StreamRegistry(
      generateFrom(({ query }, { signal, mayRestart }) => {
        const generation = new Generation(query, signal, (restarting) => {
          const may = this.#expectRestart(restarting);
          assert.equal(
            mayRestart(FAILURE),
            may,
            'text begins again only where every reader can tell',
          );
          return may;
        });
        this.generations.push(generation);
        return generation.entries();
      }),
      LIMITS,
    );
  }

  /** Ends the streams that plain readers read, unless they are all there are. */
  #expectRestart(generation: Generation): boolean {
    if (toldBy(generation.taken).text === '') return true;
    const live = this.streams.filter((s) => s.generation === generation && !hasEnded(s.truth()));
    const isPlain = ({ id }: WorldStream): boolean =>
      this.readers.some((reader) => reader.stream.id === id && reader.isReadingPlain);
    const plain = live.filter(isPlain);
    if (plain.length === live.length) return false;
    for (const stream of plain) cut(stream, CANNOT_RESTART);
    return true;
  }

  #knows(id: string): boolean {
    try {
      return this.#server.get(PRINCIPAL, id) !== undefined;
    } catch {
      return false;
    }
  }

  /** An identical request shares the running generation. */
  #start(query: string): WorldStream {
    const isFlight = (g: Generation): boolean =>
      g.query === query && !g.isAborted && !hasEnded(g.taken);
    const shared = this.generations.find(isFlight);
    const id = `stream-${this.streams.length}`;
    this.#server.start(identity(id), { query });
    const generation = shared ?? this.generations.at(-1)!;
    const count = this.generations.filter(isFlight).length;
    assert.equal(count, 1, 'a question under way is generated once');
    const stream: WorldStream = {
      id,
      query,
      generation,
      cut: undefined,
      truth() {
        const { taken } = generation;
        const end = stream.cut;
        return end === undefined ? taken : withEntry(upTo(taken, end.at), end.entry);
      },
    };
    this.streams.push(stream);
    return stream;
  }
}

function cut(stream: WorldStream, entry: ErrorEntry): void {
  if (hasEnded(stream.truth())) return;
  stream.cut = { at: readable(stream.truth()), entry };
}

function identity(id: string) {
  return { principal: PRINCIPAL, id, sessionId: undefined, query: '' };
}
