import { createHash } from 'node:crypto';
import { type FinishReason, StreamError, type Usage } from '@rivulet/protocol';
import type {
  EndEntry,
  Entry,
  ErrorEntry,
  TextEntry,
  ToolCallEntry,
  ToolResultEntry,
} from '../entry.js';
import type { Logger } from '../observe/logger.js';
import type { StreamMetrics } from '../observe/metrics.js';

/** One request as it goes: its text so far, its times, and the report at its end. */
export class Run {
  readonly #logger: Logger;
  readonly #metrics: StreamMetrics;
  readonly #startedAt = performance.now();
  #firstChunkMs: number | undefined;
  #provider: string | undefined;
  #terminal: EndEntry | ErrorEntry | undefined;
  #toolCalls = 0;
  #toolUnits = 0;
  cacheHit = false;
  attempt = 0;
  /** The text of the attempt under way. */
  text = '';

  constructor(logger: Logger, metrics: StreamMetrics) {
    this.#logger = logger;
    this.#metrics = metrics;
  }

  get usedTools(): boolean {
    return this.#toolCalls > 0;
  }

  /** UTF-16 units of the text, and of what its tools were given and gave. */
  get units(): number {
    return this.text.length + this.#toolUnits;
  }

  note(entry: Entry): void {
    switch (entry.type) {
      case 'start':
        this.attempt = entry.attempt;
        this.#provider = entry.provider;
        this.text = '';
        break;
      case 'text':
        this.#firstChunkMs ??= this.#elapsedMs();
        this.text += entry.text;
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
  }

  end(finishReason: FinishReason, usage: Usage): EndEntry {
    return {
      type: 'end',
      finishReason,
      totalLength: this.text.length,
      digest: createHash('sha256').update(this.text).digest('hex'),
      usage,
      timing: {
        ...(this.#firstChunkMs !== undefined && { first_chunk_ms: this.#firstChunkMs }),
        total_ms: this.#elapsedMs(),
      },
    };
  }

  failure(cause: unknown, signal: AbortSignal): ErrorEntry {
    const { code, message, retryAfterMs } = signal.aborted ? cancelled() : asStreamError(cause);
    if (code === 'internal') this.#logger.error({ event: 'LLM_STREAM_FAULT', err: cause });
    return { type: 'error', code, message, ...(retryAfterMs !== undefined && { retryAfterMs }) };
  }

  /** However the request ended, also by its caller going away. */
  report(): void {
    const outcome = this.#outcome();
    const totalMs = this.#elapsedMs();
    this.#metrics.latencyMs.record(totalMs, { outcome });
    this.#metrics.responseLength.record(this.text.length, { outcome });
    const fields = {
      outcome,
      provider: this.#provider,
      attempts: this.attempt,
      firstChunkMs: this.#firstChunkMs,
      totalMs,
      length: this.text.length,
      ...(this.usedTools && { toolCalls: this.#toolCalls }),
    };
    if (this.cacheHit) {
      this.#metrics.cacheHit.add(1);
      this.#logger.info({ event: 'LLM_STREAM_CACHE_HIT', ...fields });
    }
    if (this.#terminal?.type === 'error' && outcome !== 'cancelled') {
      const { message } = this.#terminal;
      this.#logger.warn({ event: 'LLM_STREAM_GENERATION_FAILED', ...fields, message });
    } else {
      this.#logger.info({ event: 'LLM_STREAM_COMPLETED', ...fields });
    }
  }

  #outcome(): string {
    if (this.#terminal === undefined) return 'cancelled';
    return this.#terminal.type === 'end' ? this.#terminal.finishReason : this.#terminal.code;
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
