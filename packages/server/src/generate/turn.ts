import type { Place } from './queue.js';
import type { Upstream } from './upstream.js';

/** It is the request's turn, and where. */
export interface Turn {
  upstream: Upstream;
  place: Place;
}

/** Requests that have to leave before it is this one's turn; 0 when it is. */
export interface QueuedStep {
  type: 'queued';
  ahead: number;
}

/**
 * Waits for a turn at the first of `upstreams`; says how many are ahead at once and whenever that
 * changes. Throws the reason when the first takes no request now, and `signal.reason` when it aborts;
 * the place is given up then and there. A request whose answer is under way goes before the others.
 *
 * Who has waited as long as the first may be silent stands in the other queues, too, and goes where
 * the turn comes first. To change over altogether could be worse: the few that the api is still to
 * serve take seconds, the many before a local model's one place take minutes.
 */
export async function* takeTurn(
  upstreams: readonly [Upstream, ...Upstream[]],
  signal: AbortSignal,
  isUnderWay: boolean,
): AsyncGenerator<QueuedStep, Turn, undefined> {
  signal.throwIfAborted();
  const [first, ...others] = upstreams;
  const turns: Turn[] = [];
  let wake = (): void => {};

  const join = (upstream: Upstream): void => {
    const refusal = upstream.breaker.refusal();
    if (refusal !== undefined) throw refusal;
    turns.push({ upstream, place: upstream.queue.join(() => wake(), isUnderWay) });
  };
  const joinOthers = (): void => {
    for (const other of others) {
      try {
        join(other);
      } catch {
        // It takes no request now: the place here is as good as it gets.
      }
    }
    wake();
  };
  const leave = (): void => {
    for (const { place } of turns) place.leave();
    wake();
  };

  join(first);
  let taken = turns.find(({ place }) => place.isFree);
  if (taken !== undefined) return taken;
  const patience =
    others.length > 0 ? setTimeout(joinOthers, first.deadlines.firstChunkMs) : undefined;
  signal.addEventListener('abort', leave);
  let told: number | undefined;
  try {
    for (;;) {
      signal.throwIfAborted();
      const ahead = Math.min(...turns.map(({ place }) => place.ahead));
      const moved = new Promise<void>((resolve) => (wake = resolve));
      if (ahead !== told) {
        told = ahead;
        yield { type: 'queued', ahead };
      } else if (ahead === 0) {
        taken = turns.find(({ place }) => place.isFree);
        if (taken !== undefined) return taken;
      } else {
        await moved;
      }
    }
  } finally {
    clearTimeout(patience);
    signal.removeEventListener('abort', leave);
    for (const turn of turns) if (turn !== taken) turn.place.leave();
  }
}
