import { createHash, type Hash } from 'node:crypto';
import { type FinishReason, StreamError, type Usage } from '@rivulet/protocol';
import type {
  EndEntry,
  Entry,
  ErrorEntry,
  StartEntry,
  TextEntry,
  ToolCallEntry,
  ToolResultEntry,
} from '../entry.js';
import type { Logger } from '../observe/logger.js';
import type { StreamMetrics } from '../observe/metrics.js';
import { errorType } from '../upstream/error-type.js';
import { FlatText } from './flat-text.js';
import type { OnFallback } from '../upstream/failover.js';

/** One request as it goes: its text as far as it may be cached, its times, and the report at its end. */
export class Run {
  readonly #logger: Logger;
  readonly #metrics: StreamMetrics;
  readonly #startedAt = performance.now();
  #firstChunkMs: number | undefined;
  #start: StartEntry | undefined;
  #terminal: EndEntry | ErrorEntry | undefined;
  #cause: unknown;
  #toolCalls = 0;
  #toolUnits = 0;
  cacheHit = false;
  attempt = 0;
  readonly #maxKeptUnits: number;
  #text!: FlatText;
  #hash!: Hash;

  /** The text is kept as long as it has at most `maxKeptUnits` UTF-16 units. */
  constructor(logger: Logger, metrics: StreamMetrics, maxKeptUnits: number) {
    this.#maxKeptUnits = maxKeptUnits;
    this.#beginText();
    this.#logger = logger;
    this.#metrics = metrics;
    this.#metrics.active.add(1);
  }

  get usedTools(): boolean {
    return this.#toolCalls > 0;
  }

  /** UTF-16 units of the text, and of what its tools were given and gave. */
  get units(): number {
    return this.#text.length + this.#toolUnits;
  }

  /** The text of the attempt under way; undefined if it is longer than what is kept. */
  get text(): string | undefined {
    return this.#text.read();
  }

  /** Takes the entry into account, and gives it back. */
  note<E extends Entry>(entry: E): E {
    switch (entry.type) {
      case 'start':
        this.attempt = entry.attempt;
        this.#start = entry;
        this.#beginText();
        break;
      case 'text':
        if (this.#firstChunkMs === undefined) this.#noteFirstChunk();
        this.#text.add(entry.text);
        if (this.#text.length > this.#maxKeptUnits) this.#text.discard();
        break;
      case 'tool_call':
        this.#toolCalls += 1;
        this.#toolUnits += unitsOf(entry);
        break;
      case 'tool_result':
        this.#toolUnits += unitsOf(entry);
        break;
      case 'end':
      case 'error':
        this.#terminal = entry;
    }
    return entry;
  }

  /** Provider `from` was given up for `to`. */
  readonly fallback: OnFallback = (from, to, error) => {
    const names = { from: from.name, to: to.name };
    this.#metrics.fallback.add(1, { ...names, reason: errorType(error) });
    this.#logger.warn({
      event: 'LLM_STREAM_API_FALLBACK',
      ...names,
      totalMs: this.#elapsedMs(),
      length: this.#text.length,
      err: error,
    });
  };

  end(finishReason: FinishReason, usage: Usage): EndEntry {
    if (this.#start === undefined) throw new Error('an attempt begins before its end');
    const { source, provider, model } = this.#start;
    this.#text.end();
    return {
      type: 'end',
      source,
      provider,
      model,
      finishReason,
      totalLength: this.#text.length,
      digest: this.#hash.digest('hex'),
      usage,
      timing: {
        ...(this.#firstChunkMs !== undefined && { first_chunk_ms: this.#firstChunkMs }),
        total_ms: this.#elapsedMs(),
      },
    };
  }

  failure(cause: unknown, signal: AbortSignal): ErrorEntry {
    this.#cause = cause;
    const { code, message, retryAfterMs } = signal.aborted ? cancelled() : asStreamError(cause);
    return { type: 'error', code, message, ...(retryAfterMs !== undefined && { retryAfterMs }) };
  }

  /** However the request ended, also by its caller going away. */
  report(): void {
    const outcome = this.#outcome();
    const totalMs = this.#elapsedMs();
    const attributes = { outcome, source: this.#source() };
    this.#metrics.active.add(-1);
    this.#metrics.latencyMs.record(totalMs, attributes);
    this.#metrics.responseLength.record(this.#text.length, attributes);
    const fields = {
      outcome,
      provider: this.#start?.provider,
      attempts: this.attempt,
      firstChunkMs: this.#firstChunkMs,
      totalMs,
      length: this.#text.length,
      ...(this.usedTools && { toolCalls: this.#toolCalls }),
    };
    if (this.cacheHit) {
      this.#metrics.cacheHit.add(1);
      this.#logger.info({ event: 'LLM_STREAM_CACHE_HIT', ...fields });
    }
    if (this.#terminal?.type === 'error' && outcome !== 'cancelled') {
      const level = outcome === 'internal' ? 'error' : 'warn';
      this.#logger[level]({ event: 'LLM_STREAM_GENERATION_FAILED', ...fields, err: this.#cause });
    } else {
      this.#logger.info({ event: 'LLM_STREAM_COMPLETED', ...fields });
    }
  }

  #beginText(): void {
    const hash = createHash('sha256');
    this.#hash = hash;
    this.#text = new FlatText((segment) => hash.update(segment));
  }

  #outcome(): string {
    if (this.#terminal === undefined) return 'cancelled';
    return this.#terminal.type === 'end' ? this.#terminal.finishReason : this.#terminal.code;
  }

  #source(): 'model' | 'cache' {
    return this.cacheHit ? 'cache' : 'model';
  }

  #noteFirstChunk(): void {
    this.#firstChunkMs = this.#elapsedMs();
    this.#metrics.firstChunkMs.record(this.#firstChunkMs, { source: this.#source() });
  }

  #elapsedMs(): number {
    return Math.round(performance.now() - this.#startedAt);
  }
}

/** UTF-16 units of an entry that makes an answer longer. */
export function unitsOf(entry: TextEntry | ToolCallEntry | ToolResultEntry): number {
  return entry.type === 'text' ? entry.text.length : JSON.stringify(entry).length;
}

function cancelled(): StreamError {
  return new StreamError('cancelled', 'unable to finish the answer: it was cancelled');
}

function asStreamError(cause: unknown): StreamError {
  if (cause instanceof StreamError) return cause;
  return new StreamError('internal', 'unable to finish the answer: the server failed', { cause });
}
