import { createHash, type Hash } from 'node:crypto';
import { type FinishReason, type Source, StreamError, type Usage } from '@rivulet/protocol';
import type { EntrySink, StartEntry, ToolCallEntry, ToolResultEntry } from '../entry.js';
import type { Logger } from '../observe/logger.js';
import type { StreamMetrics } from '../observe/metrics.js';
import type { ModelName } from '../providers/provider.js';
import { errorType } from '../upstream/call-error.js';
import type { AnswerSink } from '../upstream/failover.js';
import type { CachedAnswer } from './cache.js';

export interface AnswerOptions {
  sink: EntrySink;
  signal: AbortSignal | undefined;
  /** True if the sink is given the model's thoughts. */
  thoughts: boolean;
  /** Messages of the prompt that were there before the client's context. */
  addedMessages: number;
  /** UTF-16 units of the longest answer, its tools included. */
  maxUnits: number;
  logger: Logger;
  metrics: StreamMetrics;
}

type Outcome =
  | { type: 'running' }
  | { type: 'end'; finishReason: FinishReason }
  | { type: 'error'; code: StreamError['code']; cause: unknown };

/** Text is hashed in pieces of this many UTF-16 units, because each call of the hash has a fixed cost. */
const HASHED_UNITS = 256;

/**
 * One answer: writes its entries, and reports it once it has ended. Writing throws `too_large` once the
 * answer is longer than allowed.
 */
export class Answer implements AnswerSink {
  /** Gives the answer that the cache has of a provider; nothing until it is set. */
  lookUp: (provider: ModelName) => CachedAnswer | undefined = () => undefined;
  readonly #options: AnswerOptions;
  readonly #startedAt = performance.now();
  #loadMs: number | undefined;
  #firstChunkMs: number | undefined;
  #start: StartEntry | undefined;
  #outcome: Outcome = { type: 'running' };
  /** UTF-16 units of the text. */
  #length = 0;
  /** The length where the model's current turn began. */
  #turnStart = 0;
  #lastText = '';
  #isLaterTurn = false;
  /** Of the text so far; undefined before the first piece that is hashed. */
  #hash: Hash | undefined;
  #unhashed = '';
  #toolCalls = 0;
  #toolUnits = 0;
  /** The oldest messages of the client's context that the provider did not give the model. */
  #omittedMessages = 0;

  constructor(options: AnswerOptions) {
    this.#options = options;
    options.metrics.active.add(1);
  }

  get length(): number {
    return this.#length;
  }

  get omittedMessages(): number {
    return this.#omittedMessages;
  }

  get usedTools(): boolean {
    return this.#toolCalls > 0;
  }

  get hasTurnText(): boolean {
    return this.#length > this.#turnStart;
  }

  /** @returns the text of the model's current turn. */
  readTurn(): string {
    return this.#options.sink.readText().slice(this.#turnStart);
  }

  omitted(messages: number): void {
    const ofContext = messages - this.#options.addedMessages;
    this.#omittedMessages = Math.max(this.#omittedMessages, ofContext);
  }

  queued(ahead: number): void {
    void this.#options.sink.write({ type: 'queued', ahead });
  }

  loading({ name, model }: ModelName): void {
    void this.#options.sink.write({ type: 'loading', provider: name, model });
  }

  loaded(ms: number): void {
    this.#loadMs = (this.#loadMs ?? 0) + ms;
  }

  fallback(from: ModelName, to: ModelName, error: StreamError): void {
    const { logger, metrics } = this.#options;
    this.#omittedMessages = 0;
    const names = { from: from.name, to: to.name };
    metrics.fallback.add(1, { ...names, reason: errorType(error) });
    logger.warn({
      event: 'LLM_STREAM_API_FALLBACK',
      ...names,
      totalMs: this.#elapsedMs(),
      length: this.#length,
      err: error,
    });
  }

  /** A turn of the model that follows tools: its text continues the answer, as a paragraph of its own. */
  nextTurn(): void {
    this.#isLaterTurn = true;
    this.#turnStart = this.#length;
  }

  begin(provider: ModelName, failure?: StreamError): void {
    if (!this.#isLaterTurn || failure !== undefined) this.#beginAttempt('model', provider, failure);
  }

  text(text: string): Promise<void> | undefined {
    if (this.#firstChunkMs === undefined) this.#noteFirstChunk();
    if (this.#length === this.#turnStart && /\S$/.test(this.#lastText)) {
      this.#lastText = '';
      this.#turnStart += 2;
      void this.#write('\n\n');
    }
    this.#lastText = text;
    return this.#write(text);
  }

  #write(text: string): Promise<void> | undefined {
    const length = this.#length + text.length;
    this.#checkSize(length + this.#toolUnits);
    this.#length = length;
    this.#unhashed += text;
    if (this.#unhashed.length >= HASHED_UNITS) this.#hashText();
    return this.#options.sink.write({ type: 'text', text });
  }

  thought(text: string): Promise<void> | undefined {
    return this.#options.thoughts ? this.#options.sink.write({ type: 'thought', text }) : undefined;
  }

  /** Writes the call of a tool, or what came of it. */
  tool(entry: ToolCallEntry | ToolResultEntry): Promise<void> | undefined {
    const toolUnits = this.#toolUnits + JSON.stringify(entry).length;
    this.#checkSize(this.#length + toolUnits);
    this.#toolUnits = toolUnits;
    if (entry.type === 'tool_call') this.#toolCalls += 1;
    return this.#options.sink.write(entry);
  }

  beginFromCache(provider: ModelName, failure: StreamError | undefined): boolean {
    const hit = this.lookUp(provider);
    if (hit === undefined || hit.text.length > this.#options.maxUnits) return false;
    this.#omittedMessages = hit.omittedMessages ?? 0;
    this.#beginAttempt('cache', provider, failure);
    void this.text(hit.text);
    this.end('stop', hit.usage);
    return true;
  }

  end(finishReason: FinishReason, usage: Usage): void {
    if (this.#start === undefined) throw new Error('an attempt begins before its end');
    const { source, provider, model } = this.#start;
    const digest = this.#hashText(true).digest('hex');
    this.#outcome = { type: 'end', finishReason };
    void this.#options.sink.write({
      type: 'end',
      source,
      provider,
      model,
      finishReason,
      totalLength: this.#length,
      digest,
      usage,
      timing: {
        ...(this.#loadMs !== undefined && { load_ms: this.#loadMs }),
        ...(this.#firstChunkMs !== undefined && { first_chunk_ms: this.#firstChunkMs }),
        total_ms: this.#elapsedMs(),
      },
    });
  }

  fail(cause: unknown): void {
    const { code, message, retryAfterMs } = this.#errorOf(cause);
    this.#outcome = { type: 'error', code, cause };
    const retry = retryAfterMs !== undefined && { retryAfterMs };
    void this.#options.sink.write({ type: 'error', code, message, ...retry });
  }

  /** Logs and counts the answer, also one that its caller gave up. To be called once. */
  report(): void {
    const { logger, metrics } = this.#options;
    const outcome = this.#outcomeName();
    const totalMs = this.#elapsedMs();
    const source = this.#source();
    const attributes = { outcome, source };
    metrics.active.add(-1);
    metrics.latencyMs.record(totalMs, attributes);
    metrics.responseLength.record(this.#length, attributes);
    const fields = {
      outcome,
      provider: this.#start?.provider,
      attempts: this.#start?.attempt ?? 0,
      ...(this.#loadMs !== undefined && { loadMs: this.#loadMs }),
      firstChunkMs: this.#firstChunkMs,
      totalMs,
      length: this.#length,
      ...(this.usedTools && { toolCalls: this.#toolCalls }),
      ...(this.#omittedMessages > 0 && { omittedMessages: this.#omittedMessages }),
    };
    if (this.#omittedMessages > 0) metrics.omittedMessages.add(this.#omittedMessages);
    if (source === 'cache') {
      metrics.cacheHit.add(1);
      logger.info({ event: 'LLM_STREAM_CACHE_HIT', ...fields });
    }
    if (this.#outcome.type === 'error' && outcome !== 'cancelled') {
      const level = outcome === 'internal' ? 'error' : 'warn';
      const { cause } = this.#outcome;
      logger[level]({ event: 'LLM_STREAM_GENERATION_FAILED', ...fields, err: cause });
    } else {
      logger.info({ event: 'LLM_STREAM_COMPLETED', ...fields });
    }
  }

  #beginAttempt(source: Source, { name, model }: ModelName, failure?: StreamError): void {
    this.#length = 0;
    this.#turnStart = 0;
    this.#lastText = '';
    this.#unhashed = '';
    this.#hash = undefined;
    this.#start = {
      type: 'start',
      attempt: (this.#start?.attempt ?? 0) + 1,
      source,
      provider: name,
      model,
      ...(failure && { reason: failure.message, reasonCode: failure.code }),
      ...(this.#omittedMessages > 0 && { omittedMessages: this.#omittedMessages }),
    };
    void this.#options.sink.write(this.#start);
  }

  /** @throws {StreamError} too_large, if the answer has more units than allowed. */
  #checkSize(units: number): void {
    const { maxUnits } = this.#options;
    if (units <= maxUnits) return;
    throw new StreamError(
      'too_large',
      `unable to finish the answer: it passed ${maxUnits} UTF-16 units; ask for less at a time`,
    );
  }

  /** Keeps back half of a surrogate pair, which cannot be encoded alone. */
  #hashText(isLast = false): Hash {
    const text = this.#unhashed;
    const end = isLast || !endsInHighSurrogate(text) ? text.length : text.length - 1;
    this.#hash ??= createHash('sha256');
    this.#hash.update(text.slice(0, end));
    this.#unhashed = text.slice(end);
    return this.#hash;
  }

  #noteFirstChunk(): void {
    this.#firstChunkMs = this.#elapsedMs();
    this.#options.metrics.firstChunkMs.record(this.#firstChunkMs, { source: this.#source() });
  }

  #errorOf(cause: unknown): StreamError {
    if (this.#options.signal?.aborted)
      return new StreamError('cancelled', 'unable to finish the answer: it was cancelled');
    if (cause instanceof StreamError) return cause;
    return new StreamError('internal', 'unable to finish the answer: the server failed', { cause });
  }

  #outcomeName(): string {
    switch (this.#outcome.type) {
      case 'running':
        return 'cancelled';
      case 'end':
        return this.#outcome.finishReason;
      case 'error':
        return this.#outcome.code;
    }
  }

  #source(): Source {
    return this.#start?.source ?? 'model';
  }

  #elapsedMs(): number {
    return Math.round(performance.now() - this.#startedAt);
  }
}

function endsInHighSurrogate(text: string): boolean {
  const last = text.charCodeAt(text.length - 1);
  return last >= 0xd800 && last <= 0xdbff;
}
