import type { StreamError } from '@rivulet/protocol';
import type { EntrySink, StreamedEntry } from '../entry.js';
import type { PreparedRequest } from '../hooks.js';
import type { Preemption } from '../preemption.js';
import type { GenerateRequest } from '../request.js';
import { createLog, type Log } from './log.js';
import type { Stream } from './stream.js';

/** Writes the entries of one response to `sink`. It ends with a terminal entry and does not reject. */
export type Generate = (
  request: GenerateRequest,
  sink: EntrySink,
  options: {
    signal: AbortSignal;
    preemption: Preemption;
    /** Called before an answer that was shown begins again. @returns false if it ends instead. */
    mayRestart(failure: StreamError): boolean;
    /** The changes of `prepare`; undefined if there is no such hook. */
    prepared: PreparedRequest | undefined;
  },
) => Promise<void>;

/** One run of `Generate`, its log, and the streams that read along. */
export class Generation implements EntrySink, Preemption {
  readonly log: Log = createLog();
  /** Streams that it still matters to; the last one to be cancelled ends it. */
  readonly streams: Set<Stream> = new Set();
  /** What is to be answered, for as long as it is being answered. */
  request: GenerateRequest | undefined;
  /** Bytes of the request and of what was added to it. */
  requestBytes: number;
  /** By which identical requests find it; undefined if it is not shared. */
  fingerprint: string | undefined;
  readonly #listener: GenerationListener;
  readonly #controller = new AbortController();
  #isAborted = false;
  #ahead: number | undefined;
  /** The log's bytes when the listener was called last. */
  #bytes: number;
  #isPreemptible = false;
  #preemptionListeners: Set<() => void> | undefined;

  constructor(request: GenerateRequest, requestBytes: number, listener: GenerationListener) {
    this.request = request;
    this.requestBytes = requestBytes;
    this.#bytes = this.log.bytes;
    this.#listener = listener;
  }

  /** The number of requests ahead in a queue, 0 once it has left it; undefined if it is in none. */
  get ahead(): number | undefined {
    return this.#ahead;
  }

  /** True while all its streams are detached. */
  get isPreemptible(): boolean {
    return this.#isPreemptible;
  }

  /** Aborts when no stream is left. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Runs `generate` until the log has an end or `abort` is called. */
  async run(
    generate: Generate,
    request: GenerateRequest,
    prepared: PreparedRequest | undefined,
  ): Promise<void> {
    try {
      await generate(request, this, {
        prepared,
        signal: this.#controller.signal,
        preemption: this,
        mayRestart: (failure) => this.#listener.mayRestart(this, failure),
      });
    } catch {
      // `Generate` promises not to reject; readers must receive an end all the same.
    }
    this.log.append({
      type: 'error',
      code: 'internal',
      message: 'unable to finish the answer: the server failed',
    });
  }

  /** No stream is left: the request ends, and nothing more is written. */
  abort(): void {
    this.#isAborted = true;
    this.#controller.abort();
  }

  write(entry: StreamedEntry): undefined {
    if (entry.type === 'thought' || entry.type === 'loading' || this.#isAborted) return;
    if (entry.type === 'queued') return this.#setAhead(entry.ahead);
    if (this.#ahead !== undefined) this.#setAhead(undefined);
    const { log } = this;
    log.append(entry);
    if (log.bytes === this.#bytes) return;
    this.#bytes = log.bytes;
    this.#listener.onGrowth(this);
  }

  readText(): string {
    return textOf(this.log);
  }

  onChange(listener: () => void): () => void {
    const listeners = (this.#preemptionListeners ??= new Set());
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  preempt(): void {
    for (const stream of this.streams) this.#listener.onPreempt(stream);
  }

  /** To be called when a stream was added or removed, or when the `isDetached` of one has changed. */
  updatePreemption(): void {
    const wasPreemptible = this.#isPreemptible;
    const { streams } = this;
    this.#isPreemptible = streams.size > 0 && [...streams].every((stream) => stream.isDetached);
    if (this.#isPreemptible === wasPreemptible) return;
    for (const listener of this.#preemptionListeners ?? []) listener();
  }

  #setAhead(ahead: number | undefined): undefined {
    if (ahead === this.#ahead) return;
    this.#ahead = ahead;
    for (const stream of this.streams) stream.setAhead(ahead);
  }
}

/** What a registry does for its generations. */
export interface GenerationListener {
  /** The log has taken more memory. */
  onGrowth(generation: Generation): void;
  /** The stream is to be cancelled, and the generation aborted when it was the last one. */
  onPreempt(stream: Stream): void;
  /** Called before an answer that was shown begins again. @returns false if it ends instead. */
  mayRestart(generation: Generation, failure: StreamError): boolean;
}

/** The text since the newest `start` entry. */
function textOf(log: Log): string {
  let text = '';
  for (let offset = log.start?.offset ?? 0; ;) {
    const frame = log.read(offset, Infinity);
    if (frame === undefined) return text;
    if (frame.entry.type === 'text') text += frame.entry.text;
    offset += frame.size;
  }
}
