import { createHash } from 'node:crypto';
import { StreamError } from '@rivulet/protocol';
import type { StreamedEntry } from '../entry.js';
import type { GenerateRequest } from '../request.js';
import { createBranch } from './branch.js';
import { createLog, type Log } from './log.js';
import { createPace } from './pace.js';
import { createStream, type Graces, type Stream, type StreamIdentity } from './stream.js';

/** Makes the entries of one response; it ends with a terminal entry and does not throw. */
export type Generate = (
  request: GenerateRequest,
  signal: AbortSignal,
) => AsyncIterable<StreamedEntry>;

export interface StreamBounds extends Graces {
  /** How long a finished stream can still be attached to. */
  keepFinishedMs: number;
  /** Bytes of all logs; finished ones leave first, then new streams are refused. */
  maxLogBytes: number;
  /** Streams that one principal may have running. */
  maxStreamsPerPrincipal: number;
}

export const DEFAULT_BOUNDS: StreamBounds = {
  detachGraceMs: 2_000,
  orphanGraceMs: 60_000,
  keepFinishedMs: 300_000,
  maxLogBytes: 256 * 1024 * 1024,
  maxStreamsPerPrincipal: 64,
};

/** Every stream there is. Ids live inside a principal: another's stream is not found. */
export interface Streams {
  /**
   * Starts a stream, or gives the one that this principal started with the same id and request. What
   * asks the same as one that is being generated shares that, unless its cache mode says otherwise.
   * Throws `conflict` when the request differs and `overloaded` past a bound.
   */
  start(identity: StreamIdentity, request: GenerateRequest): Stream;
  /** Throws `not_found`. */
  get(principal: string, id: string): Stream;
  /**
   * Ends a stream with `cancelled` for all its readers, and the generation unless another stream shares
   * it; the text stays.
   */
  cancel(stream: Stream): void;
  /** The principal's streams that have not ended, oldest first. */
  running(principal: string): Stream[];
  /** Ends and forgets the streams of a principal that cannot come back. */
  forgetPrincipal(principal: string): void;
  /** Ends every stream. */
  close(): void;
}

/** One run of `Generate`, and the streams that read along. */
interface Generation {
  log: Log;
  controller: AbortController;
  /** Streams that it still matters to; the last one to be cancelled ends it. */
  streams: Set<Stream>;
  ahead: number | undefined;
  requestBytes: number;
}

interface Owned {
  stream: Stream;
  generation: Generation;
  /** Of the request, by which a repeated start is known; the request itself goes with its end. */
  fingerprint: string;
}

export function createStreams(generate: Generate, bounds: StreamBounds): Streams {
  const pace = createPace();
  const byPrincipal = new Map<string, Map<string, Owned>>();
  /** What is being generated now, by the fingerprint of its request, which names the principal. */
  const flights = new Map<string, Generation>();
  const finished = new Map<Stream, NodeJS.Timeout>();

  function start(identity: StreamIdentity, request: GenerateRequest): Stream {
    const { principal, id } = identity;
    const body = JSON.stringify(request);
    const fingerprint = createHash('sha256').update(body).digest('base64');
    const known = byPrincipal.get(principal)?.get(id);
    if (known !== undefined) {
      if (known.fingerprint !== fingerprint) {
        throw new StreamError(
          'conflict',
          'unable to start the stream: its id is taken by another request; give each a new id',
        );
      }
      return known.stream;
    }
    admit(principal);

    const isShared = (request.options?.cache ?? 'default') === 'default';
    const same = isShared ? flights.get(fingerprint) : undefined;
    const flight = same?.log.done ? undefined : same;
    const generation = flight ?? createGeneration(2 * body.length);
    const log = createBranch(generation.log);
    const stream = createStream(identity, log, bounds, pace, () => cancel(stream));
    stream.setAhead(generation.ahead);
    generation.streams.add(stream);
    const own = byPrincipal.get(principal) ?? new Map<string, Owned>();
    byPrincipal.set(principal, own.set(id, { stream, generation, fingerprint }));
    if (flight === undefined) {
      if (isShared) flights.set(fingerprint, generation);
      void run(generation, request).finally(() => land(fingerprint, generation));
    }
    return stream;
  }

  async function run(generation: Generation, request: GenerateRequest): Promise<void> {
    const { log, controller, streams } = generation;
    try {
      for await (const entry of generate(request, controller.signal)) {
        if (entry.type === 'thought') continue;
        generation.ahead = entry.type === 'queued' ? entry.ahead : undefined;
        for (const stream of streams) stream.setAhead(generation.ahead);
        if (entry.type === 'queued') continue;
        if (!log.append(entry) || log.done) break;
      }
    } catch {
      // `Generate` promises not to throw; a reader must hear of an end all the same.
    }
    log.append({
      type: 'error',
      code: 'internal',
      message: 'unable to finish the answer: the server failed',
    });
    for (const stream of streams) finish(stream);
  }

  /** Who asks the same from now on is no part of this generation any more. */
  function land(fingerprint: string, generation: Generation): void {
    if (flights.get(fingerprint) === generation) flights.delete(fingerprint);
  }

  function finish(stream: Stream): void {
    if (finished.has(stream) || ownedOf(stream) === undefined) return;
    finished.set(stream, setTimeout(() => forget(stream), bounds.keepFinishedMs).unref());
  }

  function ownedOf(stream: Stream): Owned | undefined {
    const owned = byPrincipal.get(stream.principal)?.get(stream.id);
    return owned?.stream === stream ? owned : undefined;
  }

  function forget(stream: Stream): void {
    clearTimeout(finished.get(stream));
    finished.delete(stream);
    stream.dispose();
    const own = byPrincipal.get(stream.principal);
    own?.delete(stream.id);
    if (own?.size === 0) byPrincipal.delete(stream.principal);
  }

  function admit(principal: string): void {
    if (running(principal).length >= bounds.maxStreamsPerPrincipal) {
      throw overloaded('too many of your answers are under way; wait for one to end');
    }
    const unreadFirst = [...finished.keys()].sort((a, b) => +a.hasReaders - +b.hasReaders);
    for (const stream of unreadFirst) {
      if (bytesHeld() < bounds.maxLogBytes) return;
      forget(stream);
    }
    if (bytesHeld() >= bounds.maxLogBytes) throw overloaded('the server is full; try again soon');
  }

  function bytesHeld(): number {
    const generations = new Set<Generation>();
    for (const own of byPrincipal.values()) {
      for (const { generation } of own.values()) generations.add(generation);
    }
    return [...generations].reduce((sum, generation) => sum + bytesOf(generation), 0);
  }

  function cancel(stream: Stream): void {
    const owned = ownedOf(stream);
    const ended = stream.log.append({
      type: 'error',
      code: 'cancelled',
      message: 'unable to finish the answer: it was cancelled',
    });
    if (!ended || owned === undefined) return;
    const { generation, fingerprint } = owned;
    finish(stream);
    generation.streams.delete(stream);
    if (generation.streams.size > 0) return;
    land(fingerprint, generation);
    generation.controller.abort();
  }

  function running(principal: string): Stream[] {
    const own = [...(byPrincipal.get(principal)?.values() ?? [])];
    return own.map(({ stream }) => stream).filter((stream) => stream.status !== 'ended');
  }

  function forgetPrincipal(principal: string): void {
    for (const { stream } of byPrincipal.get(principal)?.values() ?? []) {
      cancel(stream);
      forget(stream);
    }
  }

  return {
    start,
    cancel,
    running,
    forgetPrincipal,
    get(principal, id) {
      const stream = byPrincipal.get(principal)?.get(id)?.stream;
      if (stream === undefined) {
        throw new StreamError(
          'not_found',
          'unable to find the stream: it is unknown or was dropped',
        );
      }
      return stream;
    },
    close() {
      for (const principal of byPrincipal.keys()) forgetPrincipal(principal);
    },
  };
}

function overloaded(reason: string): StreamError {
  return new StreamError('overloaded', `unable to start the stream: ${reason}`, {
    retryAfterMs: 1_000,
  });
}

function createGeneration(requestBytes: number): Generation {
  return {
    log: createLog(),
    controller: new AbortController(),
    streams: new Set(),
    ahead: undefined,
    requestBytes,
  };
}

/** A request is held for as long as it is being answered. */
function bytesOf({ log, requestBytes }: Generation): number {
  return log.bytes + (log.done ? 0 : requestBytes);
}
