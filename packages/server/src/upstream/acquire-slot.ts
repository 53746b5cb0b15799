import type { Upstream } from './failover.js';
import type { Requester, Slot } from './queue.js';

/** A slot and its provider. */
export interface AcquiredSlot {
  upstream: Upstream;
  slot: Slot;
}

/**
 * Acquires a slot of the first of `upstreams`; waits if none is free. Calls `onQueued` with the number of
 * requests before this one whenever it changes, and with 0 when a slot is acquired after a wait. A request
 * whose answer is in progress goes before the others.
 *
 * After the `firstChunkMs` of the first provider, the request also joins the other queues, and uses the first
 * slot that becomes free. It keeps its place in the first queue: a few requests at an API may take seconds,
 * but many requests at a local model with one slot take minutes.
 *
 * @throws {StreamError} the first provider accepts no request now.
 * @throws `signal.reason` when the signal aborts. The request leaves the queues at once.
 */
export function acquireSlot(
  upstreams: readonly [Upstream, ...Upstream[]],
  requester: Requester,
  isUnderWay: boolean,
  onQueued: (ahead: number) => void,
): AcquiredSlot | Promise<AcquiredSlot> {
  const { signal } = requester;
  signal.throwIfAborted();
  const [first] = upstreams;
  let onMove = (): void => {};
  const slot = join(first, requester, isUnderWay, () => onMove());
  if (slot.isAcquired) return { upstream: first, slot };
  return new Promise((resolve, reject) => {
    const candidates: AcquiredSlot[] = [{ upstream: first, slot }];
    let reportedAhead = Infinity;

    function joinOthers(): void {
      for (const upstream of upstreams.slice(1)) {
        try {
          const other = join(upstream, requester, isUnderWay, () => onMove());
          candidates.push({ upstream, slot: other });
        } catch {
          // This provider accepts no request now. The request still waits at the others.
        }
      }
      onMove();
    }
    const patience =
      upstreams.length > 1 && first.deadlines.firstChunkMs > 0
        ? setTimeout(joinOthers, first.deadlines.firstChunkMs)
        : undefined;

    function settle(acquired: AcquiredSlot | undefined): void {
      onMove = () => {};
      clearTimeout(patience);
      signal.removeEventListener('abort', leave);
      for (const candidate of candidates) if (candidate !== acquired) candidate.slot.release();
    }
    function leave(): void {
      settle(undefined);
      reject(signal.reason as Error);
    }
    signal.addEventListener('abort', leave);

    onMove = () => {
      const { refusal } = slot;
      if (refusal !== undefined) {
        settle(undefined);
        return reject(refusal);
      }
      const ahead = Math.min(...candidates.map(({ slot: { ahead: n = Infinity } }) => n));
      // A request that gets a slot before its first position was reported has not waited.
      if (ahead !== reportedAhead && (ahead > 0 || reportedAhead < Infinity)) {
        reportedAhead = ahead;
        onQueued(ahead);
      }
      const acquired = candidates.find((candidate) => candidate.slot.isAcquired);
      if (acquired === undefined) return;
      settle(acquired);
      resolve(acquired);
    };
  });
}

function join(
  { breaker, queue }: Upstream,
  requester: Requester,
  isUnderWay: boolean,
  onMove: () => void,
): Slot {
  const refusal = breaker.refusal();
  if (refusal !== undefined) throw refusal;
  return queue.join(requester, isUnderWay, onMove);
}
