import { monotonicMs } from './clock.js';
import { tokenAt } from './text.js';

/** A stream that a client asks for. Each stack carries it to its server as JSON. */
export interface StreamRequest {
  id: number;
  tokens: number;
  /** Milliseconds before the first burst. */
  firstMs: number;
  /** Milliseconds from one burst to the next; 0 waits for one turn of the event loop. */
  everyMs: number;
  /** Tokens that arrive together. */
  burst: number;
  /** True if both ends record the time of each token. */
  timed: boolean;
  /** True if other connections also read the stream. */
  watched: boolean;
}

/** Gives the tokens of a request, as a model's client does. */
export type TokenSource = (request: StreamRequest) => AsyncIterable<string>;

/** The work of this process's upstream so far. */
export const upstream = { started: 0, emitted: 0 };
/** The times at which the tokens of a timed request were yielded. */
export const yieldedAt = new Map<number, Float64Array>();

/** A model of ours in the server's process. */
export const scriptedTokens: TokenSource = (request) => script(request, (token) => token);

/** Yields what `toPart` makes of each token, and `last` at the end. */
export async function* script<T>(
  request: StreamRequest,
  toPart: (token: string) => T,
  last?: T,
): AsyncGenerator<T> {
  const { id, tokens, firstMs, everyMs, burst, timed } = request;
  const times = timed ? new Float64Array(tokens) : undefined;
  if (times !== undefined) yieldedAt.set(id, times);
  upstream.started++;
  const startedAt = monotonicMs() + firstMs;
  if (firstMs > 0) await waitUntil(startedAt);
  for (let i = 0; i < tokens; i++) {
    // Due times are absolute, so that one late token does not delay all that follow.
    if (i > 0 && i % burst === 0) await waitUntil(startedAt + (i / burst) * everyMs);
    if (times !== undefined) times[i] = monotonicMs();
    upstream.emitted++;
    yield toPart(tokenAt(i));
  }
  if (last !== undefined) yield last;
}

function waitUntil(dueMs: number): Promise<void> {
  const ms = dueMs - monotonicMs();
  return new Promise((resolve) => (ms > 0 ? setTimeout(resolve, ms) : setImmediate(resolve)));
}
