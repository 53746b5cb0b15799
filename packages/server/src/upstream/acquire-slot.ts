import type { Requester, Slot } from './queue.js';
import type { Upstream } from './upstream.js';

/** A slot, and the provider that it belongs to. */
export interface AcquiredSlot {
  upstream: Upstream;
  slot: Slot;
}

/** The request waits for a slot. `ahead` requests go before it; 0 when it has one. */
export interface QueuedStep {
  type: 'queued';
  ahead: number;
}

/**
 * Waits for a slot at the first of `upstreams`. Yields how many requests are ahead, and again whenever
 * that changes. A request whose answer is under way goes before the others. Throws the reason when the
 * first provider takes no request now, and `signal.reason` when the signal aborts; the place in the
 * queue is given up in the same moment.
 *
 * A request that has waited as long as the first provider may be silent joins the other queues, too,
 * and takes the slot that comes first. It keeps its first place: the few requests before it at the api
 * may take seconds, and the many before a local model's one slot take minutes.
 */
export async function* acquireSlot(
  upstreams: readonly [Upstream, ...Upstream[]],
  requester: Requester,
  isUnderWay: boolean,
): AsyncGenerator<QueuedStep, AcquiredSlot, undefined> {
  const { signal } = requester;
  signal.throwIfAborted();
  const [first, ...others] = upstreams;
  const candidates: AcquiredSlot[] = [];
  let wake = (): void => {};

  const join = (upstream: Upstream): void => {
    const refusal = upstream.breaker.refusal();
    if (refusal !== undefined) throw refusal;
    const slot = upstream.queue.join(requester, isUnderWay, () => wake());
    candidates.push({ upstream, slot });
  };
  const joinOthers = (): void => {
    for (const other of others) {
      try {
        join(other);
      } catch {
        // This provider takes no request now. The request goes on waiting at the others.
      }
    }
    wake();
  };
  const release = (): void => {
    for (const { slot } of candidates) slot.release();
    wake();
  };
  const findAcquired = (): AcquiredSlot | undefined =>
    candidates.find(({ slot }) => slot.isAcquired);

  join(first);
  let acquired = findAcquired();
  if (acquired !== undefined) return acquired;
  const patience =
    others.length > 0 ? setTimeout(joinOthers, first.deadlines.firstChunkMs) : undefined;
  signal.addEventListener('abort', release);
  let told = Infinity;
  try {
    for (;;) {
      signal.throwIfAborted();
      const moved = new Promise<void>((resolve) => (wake = resolve));
      const ahead = Math.min(...candidates.map(({ slot }) => slot.ahead ?? Infinity));
      if (ahead !== told) {
        told = ahead;
        yield { type: 'queued', ahead };
      } else if (ahead === 0) {
        acquired = findAcquired();
        if (acquired !== undefined) return acquired;
      } else {
        await moved;
      }
    }
  } finally {
    clearTimeout(patience);
    signal.removeEventListener('abort', release);
    for (const candidate of candidates) if (candidate !== acquired) candidate.slot.release();
  }
}
