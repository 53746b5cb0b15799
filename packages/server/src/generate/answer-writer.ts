import { createHash, type Hash } from 'node:crypto';
import type { Context, Span } from '@opentelemetry/api';
import { type FinishReason, LIMITS, type Source, StreamError, type Usage } from '@rivulet/protocol';
import type {
  EntrySink,
  ResumedAnswer,
  StartEntry,
  ToolCallEntry,
  ToolDecisionEntry,
  ToolResultEntry,
} from '../entry.js';
import { FieldsLogger, type Logger } from '../observe/logger.js';
import type { StreamMetrics } from '../observe/metrics.js';
import type { ModelCall } from '../observe/model-call.js';
import { endSpan, startAnswerSpan, traceIdOf } from '../observe/tracing.js';
import type { ModelName, ProviderError } from '../providers/provider.js';
import { readableError } from '../readable-error.js';
import { errorType } from '../upstream/call-error.js';
import type { AnswerSink } from '../upstream/failover.js';
import type { CachedAnswer } from './cache.js';
import type { OnToolFailure } from './tools/run-call.js';

export interface AnswerOptions {
  sink: EntrySink;
  signal: AbortSignal | undefined;
  /** True if the sink receives the model's thoughts. */
  thoughts: boolean;
  /** The number of earlier messages that the caller left out of the context. */
  omittedByCaller: number;
  /** The number of messages in the prompt before the client's context. */
  addedMessages: number;
  /** The limit of one answer in UTF-16 units, including its tools. */
  maxUnits: number;
  logger: Logger;
  metrics: StreamMetrics;
  /** The caller's context. The span of the answer is a child of its span. */
  context: Context;
  /** Identifies the answer in log lines. */
  requestId: string;
  /** Identifies the connection of the request in log lines. */
  connectionId: string | undefined;
  /** The part of the answer that another process has generated. */
  resumed: ResumedAnswer | undefined;
  /** See `GenerateCallOptions`. */
  onUsage: ((usage: Usage) => void) | undefined;
}

const SERVER_LOST = new StreamError(
  'interrupted',
  'unable to finish the answer: the server that generated it went away; ask again',
);

type Outcome =
  | { type: 'running' }
  | { type: 'end'; finishReason: FinishReason }
  | { type: 'error'; code: StreamError['code']; cause: unknown };

/** Text is hashed in pieces of this many UTF-16 units, because each call of the hash has a fixed cost. */
const HASHED_UNITS = 256;

/**
 * Writes the entries of one answer, and reports its outcome. Writing throws `too_large` if the answer is
 * longer than allowed.
 */
export class AnswerWriter implements AnswerSink {
  /** @returns the cached answer of a provider; always undefined until the caller sets it. */
  readCache: (provider: ModelName) => CachedAnswer | undefined | Promise<CachedAnswer | undefined> =
    () => undefined;
  /** The context of the answer's span. */
  readonly context: Context;
  /** Adds the ids of the answer to each line. */
  readonly logger: Logger;
  readonly #options: AnswerOptions;
  readonly #span: Span;
  readonly #startedAt = performance.now();
  #loadMs: number | undefined;
  #firstChunkMs: number | undefined;
  #start: StartEntry | undefined;
  /** The name of the provider of the newest call. */
  #called: string | undefined;
  #outcome: Outcome = { type: 'running' };
  /** UTF-16 units of the text. */
  #length = 0;
  /** The length of the text when the model's current turn began. */
  #turnStart = 0;
  #lastText = '';
  #isLaterTurn = false;
  /** True if the current call has written a thought or text. */
  #hasBegun = false;
  /** The failure of the previous try, if that try has written thoughts. */
  #retryReason: StreamError | undefined;
  #thoughtUnits = 0;
  /** The first half of a surrogate pair at the end of the newest thought. */
  #halfThought = '';
  /** The hash of the text so far; undefined before the first piece that is hashed. */
  #hash: Hash | undefined;
  #unhashed = '';
  #toolCalls = 0;
  #toolUnits = 0;
  /** The number of the oldest messages of the client's context that the provider left out. */
  #omittedMessages = 0;
  #isLoading = false;
  #usage: Usage = {};

  constructor(options: AnswerOptions) {
    const { requestId, connectionId } = options;
    const { span, context } = startAnswerSpan(options.context, {
      'rivulet.request_id': requestId,
    });
    const traceId = traceIdOf(span);
    this.#options = options;
    this.#span = span;
    this.context = context;
    this.logger = new FieldsLogger(options.logger, {
      requestId,
      ...(connectionId !== undefined && { connectionId }),
      ...(traceId !== undefined && { traceId }),
    });
    options.metrics.active.add(1);
    for (const { calls, results } of options.resumed?.rounds ?? []) {
      this.#toolCalls += calls.length;
      this.#toolUnits += JSON.stringify([...calls, ...results]).length;
    }
  }

  get length(): number {
    return this.#length;
  }

  /** The number of the oldest messages of the context that the provider left out. */
  get omittedMessages(): number {
    return this.#omittedMessages;
  }

  /** The tokens of all calls that have ended. */
  get usage(): Usage {
    return this.#usage;
  }

  get usedTools(): boolean {
    return this.#toolCalls > 0;
  }

  get hasTurnText(): boolean {
    return this.#length > this.#turnStart;
  }

  /** @returns the text of the model's current turn. */
  readTurnText(): string {
    return this.#options.sink.readText().slice(this.#turnStart);
  }

  onCall({ name, model }: ModelName, failure?: StreamError): ModelCall {
    // After tool calls, a retry continues the attempt, because the text before the calls stays valid.
    this.#called = name;
    this.#retryReason = this.#hasBegun && !this.#isLaterTurn ? failure : undefined;
    this.#hasBegun = false;
    return this.#options.metrics.beginModelCall(name, model, this.context);
  }

  onMisconfigured({ name, model }: ModelName, error: ProviderError): void {
    const event = 'LLM_PROVIDER_MISCONFIGURED';
    this.logger.error({ event, provider: name, model, err: error });
  }

  onToolFailed(...[tool, reason, error]: Parameters<OnToolFailure>): void {
    const err = error !== undefined && { err: error };
    this.logger.warn({ event: 'LLM_TOOL_FAILED', tool, reason, ...err });
  }

  onOmitted(messages: number): void {
    const ofContext = messages - this.#options.addedMessages;
    this.#omittedMessages = Math.max(this.#omittedMessages, ofContext);
  }

  onUsage(usage: Usage): void {
    this.#usage = sum(this.#usage, usage);
    this.#options.onUsage?.(this.#usage);
  }

  onQueued(ahead: number): void {
    void this.#options.sink.write({ type: 'queued', ahead });
  }

  onLoading({ name, model }: ModelName): void {
    this.#isLoading = true;
    void this.#options.sink.write({ type: 'loading', provider: name, model });
  }

  onLoaded(ms: number): void {
    this.#loadMs = (this.#loadMs ?? 0) + ms;
    this.#endLoading();
  }

  #endLoading(): void {
    if (!this.#isLoading) return;
    this.#isLoading = false;
    this.onQueued(0);
  }

  onFallback(from: ModelName, to: ModelName, error: StreamError): void {
    const { metrics } = this.#options;
    this.#omittedMessages = 0;
    this.#endLoading();
    const names = { from: from.name, to: to.name };
    metrics.fallback.add(1, { ...names, reason: errorType(error) });
    this.logger.warn({
      event: 'LLM_STREAM_API_FALLBACK',
      ...names,
      totalMs: this.#elapsedMs(),
      length: this.#length,
      err: error,
    });
  }

  /** Begins a turn of the model after tool calls. Its text continues the answer as a new paragraph. */
  beginNextTurn(): void {
    this.#isLaterTurn = true;
    this.#turnStart = this.#length;
  }

  /** Begins a further attempt if there is none, or if the current one has failed. */
  begin(provider: ModelName, failure?: StreamError): void {
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    const cause = this.#retryReason ?? failure;
    if (this.#start === undefined || cause !== undefined)
      this.#beginAttempt('model', provider, cause);
  }

  writeText(text: string): Promise<void> | undefined {
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

  /**
   * Writes a thought in slices if thoughts were requested. Drops thoughts above the limit of an answer
   * instead of failing.
   */
  writeThought(text: string): Promise<void> | undefined {
    const { thoughts, maxUnits, sink } = this.#options;
    this.#thoughtUnits += text.length;
    if (!thoughts || this.#thoughtUnits > maxUnits) return undefined;
    let rest = this.#halfThought + text;
    let full: Promise<void> | undefined;
    while (rest !== '') {
      let slice = rest.slice(0, LIMITS.thoughtUnits);
      if (endsInHighSurrogate(slice)) slice = slice.slice(0, -1);
      if (slice === '') break;
      rest = rest.slice(slice.length);
      full = sink.write({ type: 'thought', text: slice });
    }
    this.#halfThought = rest;
    return full;
  }

  /** Writes a tool call, the user's decision about it, or its result. */
  writeTool(entry: ToolCallEntry | ToolDecisionEntry | ToolResultEntry): Promise<void> | undefined {
    const toolUnits = this.#toolUnits + JSON.stringify(entry).length;
    this.#checkSize(this.#length + toolUnits);
    this.#toolUnits = toolUnits;
    if (entry.type === 'tool_call') this.#toolCalls += 1;
    return this.#options.sink.write(entry);
  }

  beginFromCache(
    provider: ModelName,
    failure: StreamError | undefined,
  ): boolean | Promise<boolean> {
    const hit = this.readCache(provider);
    if (!(hit instanceof Promise)) return this.#writeCached(hit, provider, failure);
    return hit.then((answer) => {
      this.#options.signal?.throwIfAborted();
      return this.#writeCached(answer, provider, failure);
    });
  }

  #writeCached(
    hit: CachedAnswer | undefined,
    provider: ModelName,
    failure: StreamError | undefined,
  ): boolean {
    // A custom cache may return something else.
    if (typeof hit?.text !== 'string' || hit.text.length > this.#options.maxUnits) return false;
    this.#omittedMessages = hit.omittedMessages ?? 0;
    this.#beginAttempt('cache', provider, failure);
    void this.writeText(hit.text);
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

  /** Logs and counts the answer, even if its caller has stopped reading. Called once. */
  report(): void {
    const { logger } = this;
    const { metrics } = this.#options;
    const outcome = this.#outcomeName();
    const totalMs = this.#elapsedMs();
    const source = this.#source();
    const attributes = { outcome, source };
    const omittedMessages = this.#options.omittedByCaller + this.#omittedMessages;
    metrics.active.add(-1);
    metrics.latencyMs.record(totalMs, attributes);
    metrics.responseLength.record(this.#length, attributes);
    this.#span.setAttributes({ 'rivulet.outcome': outcome, 'rivulet.source': source });
    endSpan(this.#span, this.#outcome.type === 'end' ? undefined : outcome);
    const fields = {
      outcome,
      provider: this.#start?.provider ?? this.#called,
      attempts: this.#start?.attempt ?? 0,
      ...(this.#loadMs !== undefined && { loadMs: this.#loadMs }),
      firstChunkMs: this.#firstChunkMs,
      totalMs,
      length: this.#length,
      ...(this.usedTools && { toolCalls: this.#toolCalls }),
      ...(omittedMessages > 0 && { omittedMessages }),
    };
    if (omittedMessages > 0) metrics.omittedMessages.add(omittedMessages);
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
    this.#isLaterTurn = false;
    this.#halfThought = '';
    const omittedMessages = this.#omittedMessages;
    const earlier = this.#options.resumed?.attempt ?? 0;
    const isFurther = this.#start !== undefined || earlier > 0;
    if (this.#start === undefined && earlier > 0) failure ??= SERVER_LOST;
    this.#start = {
      type: 'start',
      attempt: (this.#start?.attempt ?? earlier) + 1,
      source,
      provider: name,
      model,
      ...(isFurther && failure && { reason: failure.message, reasonCode: failure.code }),
      ...(omittedMessages > 0 && { omittedMessages }),
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

  #errorOf(thrown: unknown): StreamError {
    const cause = readableError(thrown);
    const { signal } = this.#options;
    if (signal?.aborted === true) {
      const reason: unknown = signal.reason;
      if (reason instanceof StreamError) return reason;
      return new StreamError('cancelled', 'unable to finish the answer: it was cancelled');
    }
    if (cause instanceof StreamError) return cause;
    return new StreamError(
      'internal',
      'unable to finish the answer: the server failed; ask again',
      { cause },
    );
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

function sum(a: Usage, b: Usage): Usage {
  const add = (x?: number, y?: number) => (x === undefined ? y : x + (y ?? 0));
  const input = add(a.input_tokens, b.input_tokens);
  const output = add(a.output_tokens, b.output_tokens);
  return {
    ...(input !== undefined && { input_tokens: input }),
    ...(output !== undefined && { output_tokens: output }),
  };
}

function endsInHighSurrogate(text: string): boolean {
  const last = text.charCodeAt(text.length - 1);
  return last >= 0xd800 && last <= 0xdbff;
}
