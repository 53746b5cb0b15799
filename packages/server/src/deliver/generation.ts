import { StreamError, type Usage } from '@rivulet/protocol';
import type { EntrySink, ErrorEntry, NewsEntry, ResumedAnswer, StreamedEntry } from '../entry.js';
import type { PreparedRequest } from '../hooks.js';
import type { Preemption } from '../preemption.js';
import type { GenerateRequest } from '../request.js';
import { copyLog, createLog, type Log, slicesOf } from './log.js';
import { bytesOfParsed } from './memory-budget.js';
import { PendingCalls } from './pending-calls.js';
import type { Stream } from './stream.js';
import type { ToolReplies, ToolReply } from '../tool-replies.js';

/** Writes the entries of one response to `sink`. The last entry is a terminal entry. Does not reject. */
export type Generate = (
  request: GenerateRequest,
  sink: EntrySink,
  options: {
    signal: AbortSignal;
    preemption: Preemption;
    /** Called before an answer with visible text restarts. @returns false if the answer must end instead. */
    mayRestart(failure: StreamError): boolean;
    /** Called with the tokens of all calls that have ended, whenever another one has. */
    onUsage(usage: Usage): void;
    /** Identifies the answer in log lines. */
    requestId: string;
    /** Identifies the connection of the request in log lines. */
    connectionId: string | undefined;
    /** Receives the replies of clients to the tool calls of the answer. */
    replies: ToolReplies;
    /** The changes of `prepare`; undefined if there is no such hook. */
    prepared: PreparedRequest | undefined;
    /** The part of the answer that another process has generated; undefined for a new answer. */
    resumed: ResumedAnswer | undefined;
  },
) => Promise<void>;

/** Writes the log of one generation. */
export interface LogWriter extends EntrySink {
  /**
   * Waits until all written entries are in the log.
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

/** One call of `Generate`, its log, and the streams that share it. */
export class Generation implements EntrySink, Preemption {
  log: Log = createLog();
  /** The streams that have not been cancelled. The generation ends when the last one is cancelled. */
  readonly streams: Set<Stream> = new Set();
  /** The request, until the answer is complete. */
  request: GenerateRequest | undefined;
  /** The bytes of the request and of the tool results that were added to it. */
  requestBytes: number;
  /** The tokens of the calls of providers that have ended in this process. */
  usage: Usage = {};
  /** The key by which identical requests find the generation; undefined if it is not shared. */
  fingerprint: string | undefined;
  /** Identifies the answer in log lines: the id of the first stream. */
  readonly requestId: string;
  /** The calls of the answer that wait for a client. The answer is paused while a call waits. */
  readonly calls: PendingCalls = new PendingCalls({
    onChange: (isPaused) => {
      for (const stream of this.streams) stream.setPaused(isPaused);
      this.#listener.onPausedChange?.(this);
    },
    onTimeout: (callId) => this.#listener.onCallTimeout?.(this, callId),
  });
  readonly #listener: GenerationListener;
  #controller = new AbortController();
  #writer: LogWriter | undefined;
  #isAborted = false;
  #news: NewsEntry | undefined;
  /** The log's bytes at the last call of the listener. */
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

  /** The status before the next entry, such as the place in the queue. */
  get news(): NewsEntry | undefined {
    return this.#news;
  }

  /** True while all its streams are detached. */
  get isPreemptible(): boolean {
    return this.#isPreemptible;
  }

  /** True if the current attempt has text, even if no reader has received it. */
  get hasText(): boolean {
    return (
      this.log.textLength > 0 || (this.#writer !== undefined && this.#writer.readText() !== '')
    );
  }

  /** Aborts when no stream is left. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Runs `generate` until the log has a terminal entry or `abort` is called. */
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
        onUsage: (usage) => (this.usage = usage),
        requestId: this.requestId,
        connectionId,
      });
    } catch {
      // `Generate` must not reject; if it does, readers receive an error nevertheless.
    }
    if (writer === undefined) this.log.append(FAILED);
    else void writer.write(FAILED);
  }

  /** Ends the request for this reason when no stream is left. Nothing more is written. */
  abort({ code, message }: ErrorEntry): void {
    this.#isAborted = true;
    this.#controller.abort(new StreamError(code, message));
  }

  /** Stops generating for this reason. The log stays open: another process or another run continues it. */
  stopRun(reason: ErrorEntry): void {
    this.abort(reason);
    this.#controller = new AbortController();
    this.#isAborted = false;
  }

  /** Removes the entries of the log from `offset` on. A new attempt begins at `offset`. */
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
    // The model's next prompt also contains the entry.
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

  /** Called when a stream was added, removed, detached or resumed. */
  updatePreemption(): void {
    const wasPreemptible = this.#isPreemptible;
    const { streams } = this;
    this.#isPreemptible =
      streams.size > 0 && [...streams].every((stream) => this.#listener.isDetached(stream));
    if (this.#isPreemptible === wasPreemptible) return;
    for (const listener of this.#preemptionListeners ?? []) listener();
  }

  /** Sets the status until the log grows. */
  setNews(news: NewsEntry | undefined): undefined {
    this.#news = news;
    for (const stream of this.streams) stream.setNews(news);
  }
}

/** The callbacks of a generation to its registry. */
export interface GenerationListener {
  /** The log uses more memory. */
  onGrowth(generation: Generation): void;
  /** The stream has its first text. */
  onStatusChange(stream: Stream): void;
  /** @returns true while every reader of the stream has detached. */
  isDetached(stream: Stream): boolean;
  /** Cancels the stream; aborts the generation if it was the last stream. */
  onPreempt(stream: Stream): void;
  /** `calls.isPaused` has changed. */
  onPausedChange?(generation: Generation): void;
  /** A call has timed out. @returns the reply that another process has accepted before. */
  onCallTimeout?(
    generation: Generation,
    callId: string,
  ): Promise<ToolReply | undefined> | undefined;
  /** The content of the log has changed from `offset` on. */
  onRewind?(generation: Generation, offset: number): void;
  /** Called before an answer with visible text restarts. @returns false if the answer must end instead. */
  mayRestart(generation: Generation, failure: StreamError): boolean;
}

/** The text since the newest `start` entry. */
function textOf(log: Log): string {
  let text = '';
  for (const { entry } of slicesOf(log, log.start?.offset)) {
    if (entry.type === 'text') text += entry.text;
  }
  return text;
}
