import { StreamError } from '@rivulet/protocol';
import type { EntrySink, ErrorEntry, NewsEntry, ResumedAnswer, StreamedEntry } from '../entry.js';
import type { PreparedRequest } from '../hooks.js';
import type { Preemption } from '../preemption.js';
import type { GenerateRequest } from '../request.js';
import { copyLog, createLog, type Log } from './log.js';
import { bytesOfParsed } from './memory-budget.js';
import { PendingCalls } from './pending-calls.js';
import type { Stream } from './stream.js';
import type { ToolReplies } from '../tool-replies.js';

/** Writes the entries of one response to `sink`. It ends with a terminal entry and does not reject. */
export type Generate = (
  request: GenerateRequest,
  sink: EntrySink,
  options: {
    signal: AbortSignal;
    preemption: Preemption;
    /** Called before an answer that was shown begins again. @returns false if it ends instead. */
    mayRestart(failure: StreamError): boolean;
    /** Names the answer in the log. */
    requestId: string;
    /** Names the connection that asked. */
    connectionId: string | undefined;
    /** Receives the replies of clients to the calls of the answer. */
    replies: ToolReplies;
    /** The changes of `prepare`; undefined if there is no such hook. */
    prepared: PreparedRequest | undefined;
    /** What another process has generated of the answer; undefined if the answer begins. */
    resumed: ResumedAnswer | undefined;
  },
) => Promise<void>;

/** Writes the log of one generation. */
export interface LogWriter extends EntrySink {
  /**
   * Waits until what was written is in the log.
   *
   * @returns false if another process writes the log now.
   */
  settle(): Promise<boolean>;
}

const FAILED: ErrorEntry = {
  type: 'error',
  code: 'internal',
  message: 'unable to finish the answer: the server failed; ask again',
};

/** One run of `Generate`, its log, and the streams that read along. */
export class Generation implements EntrySink, Preemption {
  log: Log = createLog();
  /** Streams that it still matters to; the last one to be cancelled ends it. */
  readonly streams: Set<Stream> = new Set();
  /** What is to be answered, for as long as it is being answered. */
  request: GenerateRequest | undefined;
  /** Bytes of the request and of what was added to it. */
  requestBytes: number;
  /** By which identical requests find it; undefined if it is not shared. */
  fingerprint: string | undefined;
  /** Names the answer in the log: the id of the first stream. */
  readonly requestId: string;
  /** The calls of the answer that wait for a client. The answer is paused meanwhile. */
  readonly calls: PendingCalls = new PendingCalls((isPaused) => {
    for (const stream of this.streams) stream.setPaused(isPaused);
    this.#listener.onPausedChange?.(this);
  });
  readonly #listener: GenerationListener;
  #controller = new AbortController();
  #writer: LogWriter | undefined;
  #isAborted = false;
  #news: NewsEntry | undefined;
  /** The log's bytes when the listener was called last. */
  #bytes: number;
  #isPreemptible = false;
  #preemptionListeners: Set<() => void> | undefined;

  constructor(
    request: GenerateRequest | undefined,
    requestBytes: number,
    requestId: string,
    listener: GenerationListener,
  ) {
    this.request = request;
    this.requestId = requestId;
    this.requestBytes = requestBytes;
    this.#bytes = this.log.bytes;
    this.#listener = listener;
  }

  /** What holds until the log grows. */
  get news(): NewsEntry | undefined {
    return this.#news;
  }

  /** True while all its streams are detached. */
  get isPreemptible(): boolean {
    return this.#isPreemptible;
  }

  /** True if the current attempt has text, also if its readers have not received it. */
  get hasText(): boolean {
    return (
      this.log.textLength > 0 || (this.#writer !== undefined && this.#writer.readText() !== '')
    );
  }

  /** Aborts when no stream is left. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Runs `generate` until the log has an end or `abort` is called. */
  async run(
    generate: Generate,
    request: GenerateRequest,
    connectionId: string | undefined,
    prepared: PreparedRequest | undefined,
    writer: LogWriter | undefined,
    resumed: ResumedAnswer | undefined,
  ): Promise<void> {
    const { signal } = this.#controller;
    this.#writer = writer;
    try {
      await generate(request, writer ?? this, {
        prepared,
        resumed,
        signal,
        preemption: this,
        replies: this.calls,
        mayRestart: (failure) => this.#listener.mayRestart(this, failure),
        requestId: this.requestId,
        connectionId,
      });
    } catch {
      // `Generate` promises not to reject; readers must receive an end all the same.
    }
    if (writer === undefined) this.log.append(FAILED);
    else void writer.write(FAILED);
  }

  /** No stream is left: the request ends for this reason, and nothing more is written. */
  abort({ code, message }: ErrorEntry): void {
    this.#isAborted = true;
    this.#controller.abort(new StreamError(code, message));
  }

  /** Ends the run for this reason. The log stays open: another process writes it, or another run does. */
  stopRun(reason: ErrorEntry): void {
    this.abort(reason);
    this.#controller = new AbortController();
    this.#isAborted = false;
  }

  /** Drops what the log has from `offset` on. A new attempt begins there. */
  rewind(offset: number): void {
    this.log = copyLog(this.log, offset);
    this.#listener.onRewind?.(this, offset);
  }

  write(entry: StreamedEntry): undefined {
    if (this.#isAborted) return;
    if (entry.type === 'queued' || entry.type === 'loading') return this.setNews(entry);
    if (this.#news !== undefined) this.setNews(undefined);
    const { log } = this;
    const isWaiting = log.textLength === 0;
    const isTool = entry.type === 'tool_call' || entry.type === 'tool_result';
    // The next prompt of the model has it, too.
    if (isTool && this.request) this.requestBytes += bytesOfParsed(JSON.stringify(entry));
    log.append(entry);
    if (isWaiting && log.textLength > 0)
      for (const stream of this.streams) this.#listener.onStatusChange(stream);
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

  /** To be called when a stream was added or removed, or when one was detached or is read again. */
  updatePreemption(): void {
    const wasPreemptible = this.#isPreemptible;
    const { streams } = this;
    this.#isPreemptible =
      streams.size > 0 && [...streams].every((stream) => this.#listener.isDetached(stream));
    if (this.#isPreemptible === wasPreemptible) return;
    for (const listener of this.#preemptionListeners ?? []) listener();
  }

  /** `news` holds until the log grows. */
  setNews(news: NewsEntry | undefined): undefined {
    this.#news = news;
    for (const stream of this.streams) stream.setNews(news);
  }
}

/** What a registry does for its generations. */
export interface GenerationListener {
  /** The log has taken more memory. */
  onGrowth(generation: Generation): void;
  /** The text of the stream has begun. */
  onStatusChange(stream: Stream): void;
  /** @returns true while every reader of the stream has said that it left. */
  isDetached(stream: Stream): boolean;
  /** The stream is to be cancelled, and the generation aborted when it was the last one. */
  onPreempt(stream: Stream): void;
  /** `calls.isPaused` has changed. */
  onPausedChange?(generation: Generation): void;
  /** The log has another content from `offset` on. */
  onRewind?(generation: Generation, offset: number): void;
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
