import type { FinishReason, Usage } from '@rivulet/protocol';

/** One message of the conversation as every provider understands it. */
export interface PromptMessage {
  role: 'user' | 'assistant';
  text: string;
}

/** What a provider is asked, free of any provider's words. `prompt.ts` makes it. */
export interface Prompt {
  system: string;
  /** Oldest first; the last is the question. */
  messages: readonly PromptMessage[];
  temperature: number | undefined;
  topP: number | undefined;
  topK: number | undefined;
  /** Tokens that the answer may have; undefined leaves it to the model. */
  maxTokens: number | undefined;
}

/**
 * What a provider yields: pieces of text (never empty), pieces of the model's thinking (never part
 * of the answer), then one `finish`, with the model's own name where upstream says it. A provider that
 * stops without `finish` has been cut off.
 */
export type Delta =
  | { type: 'text'; text: string }
  | { type: 'thought'; text: string }
  | { type: 'finish'; reason: FinishReason; usage: Usage; model?: string };

/**
 * Why a provider gave up; `route.ts` decides on it.
 * - `unavailable`: not reached, 5xx, junk on the wire
 * - `busy`: 429, or its queue is full
 * - `misconfigured`: a refused key (401, 403) or an unknown model (404)
 * - `bad_request`: it does not accept this prompt (400)
 * - `blocked`: its safety rules refuse the prompt or the answer
 * - `truncated`: the stream ended with no finish
 */
export type ProviderFailure =
  | 'unavailable'
  | 'busy'
  | 'misconfigured'
  | 'bad_request'
  | 'blocked'
  | 'truncated';

/** A provider's failure. The message reads "unable to …: reason" and holds no key and no prompt. */
export class ProviderError extends Error {
  override readonly name = 'ProviderError';
  readonly failure: ProviderFailure;
  readonly retryAfterMs: number | undefined;
  /** Of HTTP, where upstream answered; logs show it in place of the message. */
  readonly status: number | undefined;

  constructor(
    failure: ProviderFailure,
    message: string,
    options: {
      retryAfterMs?: number | undefined;
      status?: number | undefined;
      cause?: unknown;
    } = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.failure = failure;
    this.retryAfterMs = options.retryAfterMs;
    this.status = options.status;
  }
}

/** A model behind one port. */
export interface Provider {
  /** As logs, metrics and the `start` entry name it. */
  readonly name: string;
  readonly model: string;
  /**
   * Streams one answer. Throws a `ProviderError` for what the provider did, and `signal.reason`
   * when `signal` aborts: before the request, before its headers, or between deltas. However it
   * ends (also by the caller's `return`), the upstream connection's work is over when it does.
   */
  stream(prompt: Prompt, signal: AbortSignal): AsyncIterable<Delta>;
}
