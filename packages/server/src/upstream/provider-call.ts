import { setImmediate as nextTurn } from 'node:timers/promises';
import { context } from '@opentelemetry/api';
import { type FinishReason, StreamError, type Usage } from '@rivulet/protocol';
import type { ModelCall } from '../observe/model-call.js';
import {
  type Delta,
  type ModelName,
  type Prompt,
  type Provider,
  ProviderError,
  type RawMessage,
} from '../providers/provider.js';
import { readableError } from '../readable-error.js';
import { BlankAnswerError, onlyThoughts, truncated } from '../providers/failure.js';
import type { Breaker, Permit } from './breaker.js';
import { CORE_SETTINGS } from '../settings/settings.js';
import { DeadlineError, errorType, toStreamError } from './call-error.js';
import type { Slot } from './queue.js';

/** The time limits of a call, in milliseconds; 0 for no limit. */
export interface Deadlines {
  /** The limit for loading the model into memory, if the provider reports that it does so. */
  loadMs: number;
  /** The limit until the first text, thought or tool call. It restarts when the model is loaded. */
  firstChunkMs: number;
  /** The limit between two of them. */
  stallMs: number;
  /** The limit of the whole call, even while text arrives. */
  totalMs: number;
}

export type ToolCallDelta = Extract<Delta, { type: 'tool_call' }>;

/** The end of a model's turn, with its tool calls. The tool calls of a failed turn do not run. */
export interface Turn {
  reason: FinishReason;
  usage: Usage;
  calls: readonly ToolCallDelta[];
  raw?: RawMessage;
}

/** Receives a model's turn. A method that returns a promise pauses the turn until it has resolved. */
export interface TurnSink {
  /**
   * A provider is called for the first time, or again because of `failure`.
   *
   * @returns the measurement of the call.
   */
  onCall(provider: ModelName, failure: StreamError | undefined): ModelCall;
  /** The provider refuses because of its configuration: its key, its model. */
  onMisconfigured(provider: ModelName, error: ProviderError): void;
  /** The provider loads the model. Called before `onBegin`, if at all. */
  onLoading(model: ModelName): void;
  /** The model was loaded in this many milliseconds. */
  onLoaded(ms: number): void;
  /** The provider left out this many of the oldest messages. Called before `onBegin`, if at all. */
  onOmitted(messages: number): void;
  /** A call has ended, and the provider has counted its tokens. Also called for an answer that is not used. */
  onUsage(usage: Usage): void;
  writeText(text: string): Promise<void> | undefined;
  writeThought(text: string): Promise<void> | undefined;
}

export interface ProviderCallOptions {
  provider: Provider;
  /** The provider's model at the time of the call. */
  model: ModelName;
  deadlines: Deadlines;
  /** True to retry once after a failure before the first text. */
  retries: boolean;
  breaker: Breaker;
  /** The owner of the request; a symbol if it is not known. */
  principal: string | symbol;
  /** The call releases the slot when the provider has stopped working. */
  slot: Slot;
  prompt: Prompt;
  signal: AbortSignal;
  /** Called before each thought that the prompt asks for. */
  onThought(): void;
  /** Called once, before the first text, or before the turn ends if it has no text. */
  onBegin(): void;
}

type Status =
  /** No delta of the answer has arrived. */
  | 'connecting'
  /** No delta of the answer has arrived, and the provider loads the model. */
  | 'loading'
  /** Waiting for the next delta. */
  | 'reading'
  /** Waiting for the reader of the answer. */
  | 'paused'
  | 'ended';

const RETRY_WAIT_MS = 250;
/** Spreads the retries of requests that failed at the same time. */
const RETRY_JITTER_MS = 500;
/** A provider that ignores its signal loses its slot after this time. */
const ABORT_TIMEOUT_MS = 1_000;

/**
 * Calls a provider and passes its deltas to the sink, within the deadlines.
 *
 * @throws {StreamError} the provider failed.
 * @throws `signal.reason` as soon as the signal aborts, even if the provider ignores it.
 */
export function callProvider(options: ProviderCallOptions, sink: TurnSink): Promise<Turn> {
  return new Promise((resolve, reject) => {
    new ProviderCall(options, sink, { resolve, reject }).start();
  });
}

interface Outcome {
  resolve(turn: Turn): void;
  reject(error: unknown): void;
}

class ProviderCall {
  readonly #options: ProviderCallOptions;
  readonly #sink: TurnSink;
  readonly #outcome: Outcome;
  /** Aborts the work of the provider. */
  readonly #controller = new AbortController();
  readonly #startedAt = performance.now();
  /** The start of the time limit for the first delta of the answer. */
  #connectingSince = this.#startedAt;
  /** The time of the newest delta, or of the end of the last pause. */
  #lastActiveAt = this.#startedAt;
  #status: Status = 'connecting';
  #hasBegun = false;
  #leadingSpace = '';
  #calls: ToolCallDelta[] = [];
  #timer: NodeJS.Timeout | undefined;
  #permit: Permit | undefined;
  #measurement: ModelCall | undefined;
  /** The problem of the provider that was known before the try. */
  #knownProblem: ProviderError | undefined;

  constructor(options: ProviderCallOptions, sink: TurnSink, outcome: Outcome) {
    this.#options = options;
    this.#sink = sink;
    this.#outcome = outcome;
  }

  start(): void {
    const { signal, breaker, principal, slot } = this.#options;
    try {
      signal.throwIfAborted();
      this.#permit = breaker.acquirePermit(principal);
    } catch (error) {
      slot.release();
      return this.#outcome.reject(error);
    }
    signal.addEventListener('abort', this.#onAbort);
    this.#checkDeadlines();
    void this.#run();
  }

  async #run(): Promise<void> {
    try {
      await this.#readWithRetry();
      const { name } = this.#options.provider;
      this.#fail(truncated(name, 'it stopped without an end of the answer'));
    } catch (error) {
      this.#fail(readableError(error));
    }
    // Fetch makes the connection reusable one turn of the event loop later. An earlier request would open
    // another one.
    await nextTurn();
    clearTimeout(this.#timer);
    this.#controller.abort();
    this.#options.slot.release();
  }

  async #readWithRetry(): Promise<void> {
    try {
      await this.#read();
    } catch (thrown) {
      const error = readableError(thrown);
      const waitMs = this.#retryWaitMs(error);
      if (waitMs === undefined) throw error;
      this.#endMeasurement(errorType(error));
      this.#status = 'connecting';
      this.#leadingSpace = '';
      this.#calls = [];
      this.#checkDeadlines();
      await pause(waitMs, this.#controller.signal);
      if (!this.#hasEnded()) await this.#read(toStreamError(error, this.#options.provider));
    }
  }

  /** Reads one try. `failure` is the error of the first try. */
  #read(failure?: StreamError): Promise<void> {
    const { provider } = this.#options;
    this.#knownProblem = provider.problem;
    this.#measurement = this.#sink.onCall(provider, failure);
    return context.with(this.#measurement.context, () => this.#readDeltas());
  }

  async #readDeltas(): Promise<void> {
    const { provider, prompt } = this.#options;
    for await (const delta of provider.stream(prompt, this.#controller.signal)) {
      if (this.#status === 'ended') return;
      let full: Promise<void> | undefined;
      try {
        full = this.#take(delta);
      } catch (thrown) {
        const error = readableError(thrown);
        if (error instanceof ProviderError) throw error;
        // The sink refuses the delta. Its reader does not wait until the provider has stopped.
        return this.#fail(error);
      }
      if (full !== undefined) await this.#pauseUntil(full);
      // A delta may end the call.
      if (this.#hasEnded()) return;
    }
  }

  #hasEnded(): boolean {
    return this.#status === 'ended';
  }

  #take(delta: Delta): Promise<void> | undefined {
    const now = performance.now();
    this.#lastActiveAt = now;
    if (this.#status !== 'reading') this.#beforeAnswer(delta, now);
    switch (delta.type) {
      case 'text':
        // A provider of an application may yield it although `Delta` forbids it.
        if (delta.text === '') return undefined;
        this.#measurement?.chunk(delta.text.length, now);
        return this.#hasBegun ? this.#sink.writeText(delta.text) : this.#firstText(delta.text);
      case 'thought':
        this.#measurement?.chunk(delta.text.length, now);
        if (this.#options.prompt.thoughts) this.#options.onThought();
        return this.#sink.writeThought(delta.text);
      case 'tool_call':
        this.#measurement?.chunk(0, now);
        this.#calls.push(delta);
        return undefined;
      case 'loading':
      case 'loaded':
      case 'working':
        return undefined;
      case 'omitted':
        this.#sink.onOmitted(delta.messages);
        return undefined;
      case 'finish':
        this.#finish(delta);
        return undefined;
    }
  }

  /**
   * Handles deltas before the answer. Loading a model is no success, because the model may still fail to
   * answer.
   */
  #beforeAnswer(delta: Delta, now: number): void {
    switch (delta.type) {
      case 'loading':
        this.#status = 'loading';
        this.#sink.onLoading(this.#options.model);
        break;
      case 'loaded':
        this.#status = 'connecting';
        this.#connectingSince = now;
        this.#sink.onLoaded(delta.ms);
        break;
      default:
        this.#status = 'reading';
        this.#permit?.answered();
    }
    this.#checkDeadlines();
  }

  /**
   * Begins the turn with the first visible character, because an answer without one is a failure. A text that
   * continues another begins with any character, because its white space belongs to the text.
   */
  #firstText(text: string): Promise<void> | undefined {
    if (this.#options.prompt.continues) {
      this.#begin();
      return this.#sink.writeText(text);
    }
    const all = this.#leadingSpace + text;
    // The halves of a surrogate pair may arrive separately.
    if (!VISIBLE.test(this.#leadingSpace.slice(-1) + text)) {
      if (all.length > MAX_LEADING_UNITS) throw this.#blank('other');
      this.#leadingSpace = all;
      return undefined;
    }
    this.#begin();
    return this.#sink.writeText(all);
  }

  /** @returns the error of a turn with neither a visible character nor a tool call. */
  #blank(reason: FinishReason): Error {
    const { name } = this.#options.provider;
    if (reason !== 'length') return new BlankAnswerError(name, reason);
    const cause = onlyThoughts(name);
    return new StreamError('too_large', cause.message, { cause });
  }

  #begin(): void {
    this.#hasBegun = true;
    this.#options.onBegin();
  }

  async #pauseUntil(full: Promise<void>): Promise<void> {
    if (this.#status === 'ended') return;
    this.#status = 'paused';
    await full;
    if (this.#hasEnded()) return;
    this.#status = 'reading';
    this.#lastActiveAt = performance.now();
  }

  #finish({ reason, usage, model, raw }: Extract<Delta, { type: 'finish' }>): void {
    this.#sink.onUsage(usage);
    if (!this.#hasBegun) {
      // A text that is already complete has no continuation.
      const isComplete = this.#options.prompt.continues === true && reason === 'stop';
      if (this.#calls.length === 0 && !isComplete) throw this.#blank(reason);
      this.#begin();
    }
    this.#measurement?.finish(reason, usage, model);
    this.#permit?.succeeded();
    this.#end(undefined);
    this.#outcome.resolve({ reason, usage, calls: this.#calls, ...(raw && { raw }) });
  }

  readonly #onAbort = (): void => {
    const { reason } = this.#options.signal;
    this.#end(reason instanceof StreamError ? reason.code : 'cancelled');
    this.#controller.abort(reason);
    this.#outcome.reject(reason);
  };

  #fail(error: unknown): void {
    if (this.#status === 'ended') return;
    const { provider } = this.#options;
    if (error instanceof ProviderError && error.failure === 'misconfigured')
      this.#sink.onMisconfigured(provider, error);
    const failure = toStreamError(error, provider);
    // The try failed with the problem known before it, so it took no time, and says nothing new.
    if (error !== undefined && error === this.#knownProblem) this.#permit?.abandoned();
    else if (this.#mayBeFaultOfQuestion(failure)) this.#permit?.timedOut(failure);
    else if (this.#isFaultOfProvider(error, failure)) this.#permit?.failed(failure);
    else if (failure.code !== 'internal' && failure.code !== 'cancelled') this.#permit?.succeeded();
    this.#end(errorType(error));
    this.#controller.abort(failure);
    this.#outcome.reject(failure);
  }

  /** @returns true if the model may have thought for too long about this question. */
  #mayBeFaultOfQuestion({ code }: StreamError): boolean {
    return code === 'stalled' || (code === 'provider_timeout' && this.#status === 'connecting');
  }

  /**
   * Decides which failures the breaker counts: timeouts, and errors that every request would have. This
   * includes a wrong key: every call fails until an operator fixes it, and a probe detects the fix.
   */
  #isFaultOfProvider(error: unknown, { code }: StreamError): boolean {
    // A client can cause this error with a stop text with which the answer begins.
    if (error instanceof BlankAnswerError) return false;
    // A total limit says nothing about a provider that kept sending.
    if (code === 'provider_timeout') return this.#status === 'loading';
    return code === 'provider_unavailable' || code === 'truncated';
  }

  /** Releases the slot when the provider has stopped, or after `ABORT_TIMEOUT_MS`. */
  #end(failure: string | undefined): void {
    this.#status = 'ended';
    this.#options.signal.removeEventListener('abort', this.#onAbort);
    this.#endMeasurement(failure);
    this.#permit?.abandoned();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#options.slot.release(), ABORT_TIMEOUT_MS);
  }

  #endMeasurement(failure: string | undefined): void {
    this.#measurement?.end(failure);
    this.#measurement = undefined;
  }

  /** @returns undefined if a second try would fail in the same way. */
  #retryWaitMs(error: unknown): number | undefined {
    if (this.#hasBegun || this.#status === 'ended') return undefined;
    if (!this.#options.retries || this.#permit?.isProbe) return undefined;
    if (!(error instanceof ProviderError)) return undefined;
    if (error.failure !== 'unavailable' && error.failure !== 'busy') return undefined;
    const waitMs = (error.retryAfterMs ?? RETRY_WAIT_MS) + Math.random() * RETRY_JITTER_MS;
    const { firstChunkMs } = this.#options.deadlines;
    const endsAt = this.#connectingSince + limitOf(firstChunkMs);
    return performance.now() + waitMs < endsAt ? waitMs : undefined;
  }

  /** @returns the time at which the call fails unless a delta arrives. */
  #deadline(): number {
    return Math.min(
      this.#silenceDeadline(),
      this.#startedAt + limitOf(this.#options.deadlines.totalMs),
    );
  }

  #silenceDeadline(): number {
    const { loadMs, firstChunkMs, stallMs } = this.#options.deadlines;
    switch (this.#status) {
      case 'connecting':
        return this.#connectingSince + limitOf(firstChunkMs);
      case 'loading':
        return this.#connectingSince + limitOf(loadMs);
      default:
        return this.#lastActiveAt + limitOf(stallMs);
    }
  }

  /** Uses one timer instead of one for each delta: it compares the deadline with the clock when it fires. */
  readonly #checkDeadlines = (): void => {
    clearTimeout(this.#timer);
    const remainingMs = this.#deadline() - performance.now();
    if (remainingMs <= 0) return this.#fail(this.#expired());
    if (remainingMs === Infinity) return;
    const waitMs = Math.min(Math.ceil(remainingMs), LONGEST_TIMER_MS);
    this.#timer = setTimeout(this.#checkDeadlines, waitMs);
  };

  #expired(): StreamError {
    const { provider, deadlines } = this.#options;
    const { stallMs } = deadlines;
    const fail = (deadline: keyof Deadlines, reason: string): StreamError => {
      const text = `${reason} within ${deadlines[deadline]} ms`;
      return new StreamError(
        deadline === 'stallMs' ? 'stalled' : 'provider_timeout',
        `unable to get an answer from ${provider.name}: ${text}`,
        { cause: new DeadlineError(`${provider.name}: ${text}. ${adviceFor(provider, deadline)}`) },
      );
    };
    if (performance.now() - this.#startedAt >= limitOf(deadlines.totalMs))
      return fail('totalMs', 'it did not finish');
    switch (this.#status) {
      case 'connecting':
        return fail('firstChunkMs', 'it did not begin');
      case 'loading':
        return fail('loadMs', 'it did not load the model');
      case 'paused':
        return new StreamError(
          'cancelled',
          `unable to finish the answer: it was not read for ${stallMs} ms; read the entries as they arrive`,
        );
      default:
        return fail('stallMs', 'no further text came');
    }
  }
}

/** @returns which setting has the limit, for the operator. */
function adviceFor({ name }: Provider, deadline: keyof Deadlines): string {
  const settings: Readonly<Record<string, { env: string } | undefined>> = CORE_SETTINGS;
  const variable = settings[`${name}.${deadline.replace('Ms', 'Seconds')}`]?.env;
  const option = `deadlines.${deadline} of the provider`;
  return `The limit is ${variable === undefined ? option : `${variable}, or ${option}`}`;
}

/** A character that is neither white space nor a control or format character. */
const VISIBLE = /[^\s\p{Cc}\p{Cf}\p{Cs}]/u;
/** The limit of white space before the text, because a model in a loop may send it without end. */
const MAX_LEADING_UNITS = 10_000;

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** 0 stands for no limit. */
function limitOf(ms: number): number {
  return ms === 0 ? Infinity : ms;
}

/** Resolves after `ms` milliseconds, or as soon as the signal aborts. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
  });
}
