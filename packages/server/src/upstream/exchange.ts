import { setImmediate as nextTurn } from 'node:timers/promises';
import { StreamError } from '@rivulet/protocol';
import type { ModelCall } from '../observe/model-call.js';
import type { Breaker, Passage } from './breaker.js';
import { type Deadlines, type Watch, watchDeadlines } from './deadline.js';
import { MeasuredCall } from './measured.js';
import { type Delta, type Prompt, type Provider, ProviderError } from '../providers/provider.js';
import type { Slot } from './queue.js';
import { withRetry } from './retry.js';

export interface ExchangeOptions {
  provider: Provider;
  deadlines: Deadlines;
  /** Whether a failure before the first delta may be worth one more try. */
  retries: boolean;
  breaker: Breaker;
  slot: Slot;
  prompt: Prompt;
  signal: AbortSignal;
}

export interface ExchangeEvents {
  /** The provider is called; what comes back measures the call. */
  onCall(provider: Provider): ModelCall;
  /** The provider refuses because of how it was set up: its key, its model. */
  onMisconfigured(provider: Provider, error: ProviderError): void;
}

/**
 * One request to a provider, and its answer, within the deadlines. The loop is its caller's, and it is
 * told of each step: as a generator of its own, it would make every token wait once more.
 *
 *     try {
 *       for await (const delta of exchange.open()) {
 *         exchange.heard(delta);
 *         // Whatever is done with it; nothing comes after `finish`.
 *         exchange.listen();
 *       }
 *       throw exchange.cutOff();
 *     } catch (error) {
 *       throw exchange.failure(error);
 *     } finally {
 *       await exchange.end();
 *     }
 */
export class Exchange {
  readonly #options: ExchangeOptions;
  readonly #events: ExchangeEvents;
  #passage: Passage | undefined;
  #watch: Watch | undefined;
  #call: MeasuredCall | undefined;

  constructor(options: ExchangeOptions, events: ExchangeEvents) {
    this.#options = options;
    this.#events = events;
  }

  /** Asks. Throws when the breaker lets no call through, and `signal.reason` when it has aborted. */
  open(): AsyncIterable<Delta> {
    const { provider, deadlines, retries, breaker, prompt, signal } = this.#options;
    const passage = (this.#passage = breaker.enter());
    const watch = (this.#watch = watchDeadlines({ name: provider.name, signal, deadlines }));
    const stream = (): AsyncIterable<Delta> => {
      this.#call = new MeasuredCall(this.#events.onCall(provider));
      return provider.stream(prompt, watch.signal);
    };
    if (!retries || passage.isProbe) return stream();
    return withRetry(stream, {
      signal: watch.signal,
      budgetMs: deadlines.firstChunkMs,
      onRetry: (error) => {
        this.#call?.failed(error, watch.signal);
        this.#endCall();
      },
    });
  }

  /** A delta came. */
  heard(delta: Delta): void {
    this.#watch?.heard();
    this.#call?.heard(delta);
    this.#passage?.answered();
    if (delta.type === 'finish') this.#passage?.succeeded();
  }

  /** The next delta is waited for; until then the time is the caller's own. */
  listen(): void {
    this.#watch?.listen();
  }

  /** The error of an answer that ended with no `finish`. */
  cutOff(): ProviderError {
    const { name } = this.#options.provider;
    return new ProviderError(
      'truncated',
      `unable to finish the answer: ${name} stopped without an end`,
    );
  }

  /** What the loop's error comes to, for others to decide on. Throws `signal.reason` when it aborted. */
  failure(error: unknown): StreamError {
    const { provider, signal } = this.#options;
    if (this.#watch !== undefined) this.#call?.failed(error, this.#watch.signal);
    signal.throwIfAborted();
    if (error instanceof ProviderError && error.failure === 'misconfigured')
      this.#events.onMisconfigured(provider, error);
    const failure = asStreamError(error, provider);
    if (isProvidersFault(failure)) this.#passage?.failed(failure);
    else if (failure.code !== 'internal') this.#passage?.succeeded();
    return failure;
  }

  /** Ends the call, however it went. The slot is free when the promise resolves. */
  async end(): Promise<void> {
    this.#endCall();
    this.#watch?.end();
    this.#passage?.abandoned();
    // Fetch has the connection ready a turn later; a request that came at once would open another.
    await nextTurn();
    this.#options.slot.release();
  }

  #endCall(): void {
    this.#call?.end();
    this.#call = undefined;
  }
}

/**
 * Whether others would fare no better. A wrong key counts as well: it is wrong for everybody until
 * somebody mends it, which a probe finds out.
 */
function isProvidersFault({ code }: StreamError): boolean {
  return (
    code === 'provider_unavailable' ||
    code === 'provider_timeout' ||
    code === 'stalled' ||
    code === 'truncated'
  );
}

function asStreamError(error: unknown, provider: Provider): StreamError {
  if (error instanceof StreamError) return error;
  if (error instanceof ProviderError) {
    return new StreamError(codeOf(error), error.message, {
      retryAfterMs: error.retryAfterMs,
      cause: error,
    });
  }
  return new StreamError('internal', `unable to use ${provider.name}: the server failed`, {
    cause: error,
  });
}

function codeOf({ failure }: ProviderError): StreamError['code'] {
  switch (failure) {
    case 'bad_request':
    case 'content_filter':
    case 'truncated':
      return failure;
    case 'unavailable':
    case 'busy':
    case 'misconfigured':
      return 'provider_unavailable';
  }
}
