import type { Upstream } from './failover.js';
import type { Requester, Slot } from './queue.js';

/** A slot, and the provider that it belongs to. */
export interface AcquiredSlot {
  upstream: Upstream;
  slot: Slot;
}

/**
 * Takes a slot at the first of `upstreams` if one is free, and waits for one otherwise. Calls `onQueued`
 * with the number of requests that go before this one, and again whenever that changes; with 0 when it has
 * a slot after a wait. A request whose answer is under way goes before the others.
 *
 * A request that has waited as long as the first provider may be silent joins the other queues as well,
 * and takes the slot that comes first. It keeps its place in the first queue: the few requests before it at
 * an API may take seconds, and the many before a local model's only slot take minutes.
 *
 * @throws {StreamError} the first provider takes no request now.
 * @throws `signal.reason` when the signal aborts; the place in the queue is given up at once.
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
    let told = Infinity;

    function joinOthers(): void {
      for (const upstream of upstreams.slice(1)) {
        try {
          const other = join(upstream, requester, isUnderWay, () => onMove());
          candidates.push({ upstream, slot: other });
        } catch {
          // This provider takes no request now. The request goes on waiting at the others.
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
      // A request that gets its slot before it was told a place has not waited.
      if (ahead !== told && (ahead > 0 || told < Infinity)) {
        told = ahead;
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
