import { type FinishReason, StreamError, type Usage } from '@rivulet/protocol';
import { type Deadlines, withDeadlines } from './deadline.js';
import {
  type Delta,
  type Prompt,
  type Provider,
  ProviderError,
  type RawTurn,
} from './providers/provider.js';

export interface Candidate {
  provider: Provider;
  deadlines: Deadlines;
}

/** Who answers: the first that can, in this order. */
export type Route = readonly [Candidate, ...Candidate[]];

/**
 * What `follow` yields: an attempt when its first text is there, then its text, then one finish. Calls
 * of tools come with the finish: those of a provider that fails before it are nobody's.
 */
export type RouteStep =
  | { type: 'attempt'; provider: Provider; reason?: string }
  | { type: 'text'; text: string }
  | {
      type: 'finish';
      provider: Provider;
      reason: FinishReason;
      usage: Usage;
      calls: readonly CallDelta[];
      raw?: RawTurn;
    };

type CallDelta = Extract<Delta, { type: 'tool_call' }>;

/** Told of each provider that was given up for the next. */
export type OnFallback = (from: Provider, to: Provider, error: unknown) => void;

/**
 * Asks the providers in turn. Before the first text the next one takes over unseen; after it, as a new
 * attempt whose text begins again. `shown` says that something of the answer was seen already. Throws a
 * `StreamError` when no answer came, and `signal.reason` when `signal` aborted.
 */
export async function* follow(
  route: Route,
  prompt: Prompt,
  signal: AbortSignal,
  onFallback: OnFallback,
  shown = false,
): AsyncGenerator<RouteStep, void, undefined> {
  const failures: StreamError[] = [];
  for (const [i, { provider, deadlines }] of route.entries()) {
    const reason = failures.at(-1)?.message;
    const calls: CallDelta[] = [];
    let begun = false;
    const begin = (): RouteStep => {
      const again = shown && reason !== undefined;
      begun = true;
      shown = true;
      return { type: 'attempt', provider, ...(again && { reason }) };
    };
    try {
      for await (const delta of withDeadlines(provider, prompt, signal, deadlines)) {
        if (delta.type === 'thought') continue;
        if (delta.type === 'tool_call') {
          calls.push(delta);
          continue;
        }
        if (!begun) yield begin();
        if (delta.type === 'text') yield delta;
        else yield { ...delta, provider, calls };
        if (delta.type === 'finish') return;
      }
      throw new ProviderError(
        'truncated',
        `unable to finish the answer: ${provider.name} stopped without an end`,
      );
    } catch (error) {
      signal.throwIfAborted();
      const failure = asStreamError(error, provider);
      const next = route[i + 1]?.provider;
      if (isFinal(failure)) throw failure;
      failures.push(failure);
      if (next !== undefined) onFallback(provider, next, error);
    }
  }
  throw failures.length === 1 ? failures[0]! : allFailed(failures);
}

/** A refusal on grounds of content is not for another provider to undo, nor a request that is wrong. */
function isFinal({ code }: StreamError): boolean {
  return code === 'blocked' || code === 'bad_request';
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
    case 'blocked':
    case 'truncated':
      return failure;
    case 'unavailable':
    case 'busy':
    case 'misconfigured':
      return 'provider_unavailable';
  }
}

function allFailed(failures: readonly StreamError[]): StreamError {
  const reasons = failures.map(({ message }) => message).join('; ');
  const waits = failures.flatMap(({ retryAfterMs }) => retryAfterMs ?? []);
  return new StreamError('all_providers_failed', `unable to get an answer: ${reasons}`, {
    retryAfterMs: waits.length > 0 ? Math.min(...waits) : undefined,
    cause: new AggregateError(failures),
  });
}
