import type { StreamError } from '@rivulet/protocol';
import type { Preemption } from '../preemption.js';
import { fairOrder } from './fair-order.js';
import { QueueRefusals } from './queue-refusals.js';

/** One answer. It may need a slot several times. */
export interface Requester {
  principal: string | symbol;
  /** See `GenerateRequest`. */
  fairnessKey?: string | undefined;
  signal: AbortSignal;
  /** Unless given, the request is never ended in favour of others. */
  preemption?: Preemption | undefined;
  /** The model to use for each provider instead of its own, by the provider's name. */
  models?: Readonly<Record<string, string>> | undefined;
  /**
   * Called when a provider failed or was busy for too long after text was written. @returns false if the
   * answer may not restart: it ends after a failure, and waits for a busy provider.
   */
  mayRestart?: ((failure: StreamError) => boolean) | undefined;
}

/** The browsers of one address take turns as this many principals: an address can invent any number of browsers. */
const TURNS_OF_ADDRESS = 16;

/** @returns the owner of places in a queue: a principal, or an address whose principals are browsers. */
export function ownerOf({ fairnessKey, principal }: Requester): string | symbol {
  return fairnessKey ?? principal;
}

/** @returns text that follows the owner's name, where an owner has several turns; otherwise empty text. */
export function turnOf({ fairnessKey, principal }: Requester): string {
  if (fairnessKey === undefined || typeof principal === 'symbol') return '';
  let sum = 0;
  for (let i = 0; i < principal.length; i++) sum += principal.charCodeAt(i);
  return `.${sum % TURNS_OF_ADDRESS}`;
}

/** A request's slot of a provider, or its place in the queue for one. */
export interface Slot {
  /** True while the provider may be called: from the acquisition until `release`. */
  readonly isAcquired: boolean;
  /**
   * The number of requests before this one; 0 when the slot is acquired, undefined until they are counted.
   */
  readonly ahead: number | undefined;
  /** The reason why the request may not wait, if it is known only after `join` has returned. */
  readonly refusal?: StreamError | undefined;
  /** Releases the slot, or leaves the queue. A second call does nothing. */
  release(): void;
}

/**
 * The requests of one provider: those with a slot, and those that wait for one.
 *
 * A slot goes to an answer in progress that needs the provider again, in order of arrival. If there is none,
 * it goes to the principal with the fewest slots; among equals, to the one whose count has not changed for
 * the longest time, so that principals take turns. The requests of one principal go in order of arrival.
 *
 * A preemptible request that waits goes after all others. A preemptible request with a slot is ended as soon
 * as a request that is not preemptible waits for that slot.
 */
export interface Queue {
  readonly running: number;
  readonly waiting: number;
  /**
   * Acquires a slot, or waits in the queue. Calls `onMove` when the slot is acquired, and at most once in a
   * turn of the event loop when `ahead` has changed. `ahead` assumes that slots are released in the order of
   * their acquisition, and that no other request arrives.
   *
   * A request may wait while its owner has fewer waiting requests than there are free places, so one owner
   * gets at most half of the places, rounded up. An answer in progress may always wait. In a full
   * queue, waiting preemptible requests are ended to make room for another request.
   *
   * @throws {StreamError} overloaded when the request may not wait.
   */
  join(requester: Requester, isUnderWay: boolean, onMove: () => void): Slot;
}

export interface QueueOptions {
  /** The provider's name, for error messages. */
  name: string;
  /** The limit of concurrent requests. */
  concurrency: number;
  /** The limit of waiting requests. */
  maxQueued: number;
  /** The owner of the slots, if processes share them. The name unless given. */
  pool?: string | undefined;
}

export type CreateQueue = (options: QueueOptions) => Queue;

class Ticket implements Slot {
  readonly owner: string | symbol;
  /** Takes turns with other principals. */
  readonly principal: string | symbol;
  readonly preemption: Preemption | undefined;
  readonly isUnderWay: boolean;
  readonly onMove: () => void;
  readonly #onRelease: (ticket: Ticket) => void;
  status: 'waiting' | 'acquired' | 'released' = 'waiting';
  ahead: number | undefined;
  acquiredAtMs = 0;
  stopWatching: (() => void) | undefined;

  constructor(
    requester: Requester,
    isUnderWay: boolean,
    onMove: () => void,
    onRelease: (ticket: Ticket) => void,
  ) {
    const owner = ownerOf(requester);
    this.owner = owner;
    this.principal = typeof owner === 'string' ? owner + turnOf(requester) : owner;
    this.preemption = requester.preemption;
    this.isUnderWay = isUnderWay;
    this.onMove = onMove;
    this.#onRelease = onRelease;
  }

  get isAcquired(): boolean {
    return this.status === 'acquired';
  }

  release(): void {
    this.#onRelease(this);
  }
}

function removeFrom<K>(sets: Map<K, Set<Ticket>>, key: K, ticket: Ticket): void {
  const tickets = sets.get(key);
  tickets?.delete(ticket);
  if (tickets?.size === 0) sets.delete(key);
}

/**
 * p-queue does not fit: a slot here is held by an iterator, not by a promise, and p-queue does not report the
 * number of requests before another one.
 */
export function createQueue(options: QueueOptions): Queue {
  const { concurrency, maxQueued } = options;
  const refusals = new QueueRefusals(options);
  // Sets keep the order of arrival, and a request can leave from the middle in constant time.
  const running = new Set<Ticket>();
  /** Requests that were ended in favour of others and have not released their slot yet. */
  const preempted = new Set<Ticket>();
  const underWay = new Set<Ticket>();
  /** The other waiting requests. The principal whose count of slots changed last is the last. */
  const fresh = new Map<string | symbol, Set<Ticket>>();
  /** The same requests by their owners. */
  const freshOfOwner = new Map<string | symbol, Set<Ticket>>();
  const heldBy = new Map<string | symbol, number>();
  /**
   * Preemptible requests, in the order in which they became preemptible. Waiting ones are also in `underWay`
   * or `fresh`.
   */
  const preemptible = { running: new Set<Ticket>(), waiting: new Set<Ticket>() };
  let waiting = 0;
  let isRenumbering = false;

  function isWanted(ticket: Ticket): boolean {
    return !preemptible.waiting.has(ticket);
  }

  /** @returns the number of waiting requests that are not preemptible. */
  function countWanted(): number {
    return waiting - preemptible.waiting.size;
  }

  function firstWanted(tickets: Iterable<Ticket>): Ticket | undefined {
    for (const ticket of tickets) if (isWanted(ticket)) return ticket;
    return undefined;
  }

  function firstFresh(): Ticket | undefined {
    let best: Ticket | undefined;
    let fewest = Infinity;
    for (const [principal, tickets] of fresh) {
      const held = heldBy.get(principal) ?? 0;
      if (held >= fewest) continue;
      const ticket = firstWanted(tickets);
      if (ticket === undefined) continue;
      [best, fewest] = [ticket, held];
      if (held === 0) break;
    }
    return best;
  }

  function firstPreemptible(): Ticket | undefined {
    return preemptible.waiting.values().next().value;
  }

  /** @returns all waiting requests in the order in which they get a slot. */
  function inOrder(): Ticket[] {
    const wanted = new Map<string | symbol, Ticket[]>();
    for (const [principal, tickets] of fresh) wanted.set(principal, [...tickets].filter(isWanted));
    const order = fairOrder({
      running: [...preempted, ...running],
      underWay: [...underWay].filter(isWanted),
      waiting: wanted,
    });
    return [...order, ...preemptible.waiting];
  }

  function startWaiting(ticket: Ticket): void {
    waiting += 1;
    if (ticket.preemption?.isPreemptible) preemptible.waiting.add(ticket);
    if (ticket.isUnderWay) underWay.add(ticket);
    else {
      const { principal, owner } = ticket;
      fresh.set(principal, (fresh.get(principal) ?? new Set()).add(ticket));
      freshOfOwner.set(owner, (freshOfOwner.get(owner) ?? new Set()).add(ticket));
    }
  }

  function stopWaiting(ticket: Ticket): void {
    waiting -= 1;
    preemptible.waiting.delete(ticket);
    underWay.delete(ticket);
    removeFrom(fresh, ticket.principal, ticket);
    removeFrom(freshOfOwner, ticket.owner, ticket);
  }

  function changeHeld(principal: string | symbol, by: 1 | -1): void {
    const held = (heldBy.get(principal) ?? 0) + by;
    if (held === 0) heldBy.delete(principal);
    else heldBy.set(principal, held);
    const own = fresh.get(principal);
    if (own === undefined) return;
    fresh.delete(principal);
    fresh.set(principal, own);
  }

  function acquire(ticket: Ticket): void {
    ticket.status = 'acquired';
    ticket.ahead = 0;
    ticket.acquiredAtMs = performance.now();
    running.add(ticket);
    if (ticket.preemption?.isPreemptible) preemptible.running.add(ticket);
    changeHeld(ticket.principal, 1);
  }

  function hasFreeSlot(): boolean {
    return running.size + preempted.size < concurrency;
  }

  function acquireNext(): void {
    while (hasFreeSlot()) {
      const ticket = firstWanted(underWay) ?? firstFresh() ?? firstPreemptible();
      if (ticket === undefined) return;
      stopWaiting(ticket);
      acquire(ticket);
      ticket.onMove();
    }
  }

  /** Frees a slot for each waiting request, as far as preemptible requests have any. */
  function preempt(): void {
    for (const ticket of preemptible.running) {
      if (preempted.size >= countWanted()) return;
      preemptible.running.delete(ticket);
      running.delete(ticket);
      preempted.add(ticket);
      ticket.preemption?.preempt();
    }
  }

  /**
   * Schedules one update of the positions, because many requests may leave in one turn of the event loop,
   * such as when a provider fails.
   */
  function renumberSoon(): void {
    if (isRenumbering || waiting === 0) return;
    isRenumbering = true;
    setImmediate(() => {
      isRenumbering = false;
      for (const [index, ticket] of inOrder().entries()) {
        const ahead = index + 1;
        const hasMoved = ticket.ahead !== ahead;
        ticket.ahead = ahead;
        if (hasMoved) ticket.onMove();
      }
    });
  }

  function updatePreemptible(ticket: Ticket): void {
    const tickets = ticket.status === 'waiting' ? preemptible.waiting : preemptible.running;
    if (ticket.preemption?.isPreemptible) tickets.add(ticket);
    else tickets.delete(ticket);
    preempt();
    renumberSoon();
  }

  function release(ticket: Ticket): void {
    if (ticket.status === 'released') return;
    ticket.stopWatching?.();
    if (ticket.status === 'waiting') stopWaiting(ticket);
    if (ticket.status === 'acquired') {
      running.delete(ticket);
      preempted.delete(ticket);
      preemptible.running.delete(ticket);
      changeHeld(ticket.principal, -1);
      refusals.note(performance.now() - ticket.acquiredAtMs);
    }
    ticket.status = 'released';
    acquireNext();
    renumberSoon();
  }

  function fits(owner: string | symbol): boolean {
    return (freshOfOwner.get(owner)?.size ?? 0) < maxQueued - waiting;
  }

  /** Ends waiting preemptible requests, as far as one more request of the owner needs their places. */
  function makeRoom(owner: string | symbol): void {
    if (fits(owner)) return;
    const own = [...(freshOfOwner.get(owner) ?? [])];
    const ownWanted = own.filter(isWanted).length;
    const couldBeFree = maxQueued - countWanted();
    if (couldBeFree <= 0) throw refusals.full();
    if (ownWanted >= couldBeFree) throw refusals.tooMany(ownWanted);
    const others = [...preemptible.waiting].filter((ticket) => ticket.owner !== owner);
    for (const ticket of [...own, ...others]) {
      if (fits(owner)) return;
      if (!isWanted(ticket)) ticket.preemption?.preempt();
    }
  }

  return {
    get running() {
      return running.size + preempted.size;
    },
    get waiting() {
      return waiting;
    },
    join(requester, isUnderWay, onMove) {
      const ticket = new Ticket(requester, isUnderWay, onMove, release);
      if (hasFreeSlot()) acquire(ticket);
      else {
        if (!isUnderWay) makeRoom(ticket.owner);
        startWaiting(ticket);
      }
      ticket.stopWatching = ticket.preemption?.onChange(() => updatePreemptible(ticket));
      preempt();
      renumberSoon();
      return ticket;
    },
  };
}
