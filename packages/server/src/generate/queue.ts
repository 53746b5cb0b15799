import { StreamError } from '@rivulet/protocol';

/** A request's place: in the queue, then at the provider. */
export interface Place {
  /** Whether the request may go; it may until it leaves. */
  readonly isFree: boolean;
  /** Requests that have to leave before it is free; 0 when it is. */
  readonly ahead: number;
  /** Gives the place up, also while it waits. The second time does nothing. */
  leave(): void;
}

/**
 * The requests of one provider: those that it is answering, and those that wait, first come first
 * served. Those whose answer is under way, and needs the provider again, came before all others.
 */
export interface Queue {
  readonly running: number;
  readonly waiting: number;
  /**
   * Takes a place. `onMove` is called when it becomes free, and once in a turn of the event loop when
   * others than before are ahead. Throws `overloaded` when the queue is full; an answer under way is
   * taken all the same.
   */
  join(onMove: () => void, isUnderWay?: boolean): Place;
}

export interface QueueOptions {
  /** As the message of a refusal names it. */
  name: string;
  /** Requests that go at a time. */
  concurrency: number;
  /** Requests that may wait. */
  maxQueued: number;
}

interface Ticket extends Place {
  status: 'waiting' | 'free' | 'left';
  ahead: number;
  freeSinceMs: number;
  onMove(): void;
}

const FIRST_GUESS_MS = 10_000;
const RETRY_AFTER_MS = { least: 1_000, most: 60_000 };
/** How much the newest answer counts for in the average. */
const NEWEST_WEIGHT = 0.2;

/**
 * Not p-queue: a place here lasts as long as an iterator, not as a promise, and what a waiting request
 * wants to know, how many are ahead, is what p-queue keeps to itself.
 */
export function createQueue({ name, concurrency, maxQueued }: QueueOptions): Queue {
  // Each in the order of their coming; a Set lets one leave from the middle at no cost.
  const underWay = new Set<Ticket>();
  const fresh = new Set<Ticket>();
  let running = 0;
  let averageMs = FIRST_GUESS_MS;
  let renumbering = false;

  function* inOrder(): Generator<Ticket> {
    yield* underWay;
    yield* fresh;
  }

  function countWaiting(): number {
    return underWay.size + fresh.size;
  }

  function stopWaiting(ticket: Ticket): void {
    underWay.delete(ticket);
    fresh.delete(ticket);
  }

  function admit(ticket: Ticket): void {
    running += 1;
    ticket.status = 'free';
    ticket.ahead = 0;
    ticket.freeSinceMs = performance.now();
  }

  function admitNext(): void {
    for (const ticket of inOrder()) {
      if (running >= concurrency) return;
      stopWaiting(ticket);
      admit(ticket);
      ticket.onMove();
    }
  }

  /** Many may leave in one turn, as when a provider is found dead: the others hear of it once. */
  function renumberSoon(): void {
    if (renumbering || countWaiting() === 0) return;
    renumbering = true;
    setImmediate(() => {
      renumbering = false;
      let ahead = 0;
      for (const ticket of inOrder()) {
        ahead += 1;
        const moved = ticket.ahead !== ahead;
        ticket.ahead = ahead;
        if (moved) ticket.onMove();
      }
    });
  }

  function leave(ticket: Ticket): void {
    if (ticket.status === 'free') {
      running -= 1;
      averageMs += NEWEST_WEIGHT * (performance.now() - ticket.freeSinceMs - averageMs);
    }
    ticket.status = 'left';
    stopWaiting(ticket);
    admitNext();
    renumberSoon();
  }

  function refusal(): StreamError {
    const { least, most } = RETRY_AFTER_MS;
    return new StreamError(
      'overloaded',
      `unable to get an answer from ${name}: ${maxQueued} requests wait for it already`,
      // By then one place should have become free.
      { retryAfterMs: Math.round(Math.min(most, Math.max(least, averageMs / concurrency))) },
    );
  }

  return {
    get running() {
      return running;
    },
    get waiting() {
      return countWaiting();
    },
    join(onMove, isUnderWay = false) {
      const ticket: Ticket = {
        status: 'waiting',
        ahead: (isUnderWay ? underWay.size : countWaiting()) + 1,
        freeSinceMs: 0,
        get isFree() {
          return ticket.status === 'free';
        },
        leave: () => leave(ticket),
        onMove,
      };
      if (running < concurrency) admit(ticket);
      else if (isUnderWay) underWay.add(ticket);
      else if (countWaiting() < maxQueued) fresh.add(ticket);
      else throw refusal();
      if (isUnderWay && fresh.size > 0) renumberSoon();
      return ticket;
    },
  };
}
