import { randomUUID } from 'node:crypto';
import type { StreamError } from '@rivulet/protocol';
import { fairOrder } from '../upstream/fair-order.js';
import {
  createQueue,
  ownerOf,
  type Queue,
  type QueueOptions,
  type Requester,
  type Slot,
  turnOf,
} from '../upstream/queue.js';
import { QueueRefusals } from '../upstream/queue-refusals.js';
import type { RedisConnection } from './connection/connection.js';
import { hash } from './hash.js';

/** A process that was not heard of for so long has lost its slots and places. */
const LEASE_MS = 3_000;
const RENEW_MS = 1_000;
/** Places that other processes change are read at most this often. */
const PLACES_MS = 200;
/** The time to live of a queue that no process uses. */
const LIVE_MS = 60_000;
const MAX_CHANGES = 500;
/** Of a hash, so many units tell principals apart. */
const PRINCIPAL_UNITS = 22;

type State = 'r' | 'w';

/** A ticket in Redis. `turn` orders the principals. */
type Listed = [
  id: string,
  state: State,
  place: string,
  node: string,
  principal: string,
  flags: string,
  turn: string,
];

interface Change {
  type: 'join' | 'keep' | 'flags' | 'leave';
  ticket: SharedTicket;
}

class SharedTicket implements Slot {
  readonly id: string = randomUUID();
  readonly requester: Requester;
  /** Its owner, and the owner's turn after a dot where it has several. */
  readonly principal: string;
  readonly isUnderWay: boolean;
  readonly onMove: () => void;
  readonly #onRelease: (ticket: SharedTicket) => void;
  status: 'waiting' | 'acquired' | 'released' = 'waiting';
  ahead: number | undefined;
  refusal: StreamError | undefined;
  acquiredAtMs = 0;
  stopWatching: (() => void) | undefined;
  /** Its place in Redis, which counts what was there before; empty until it is known. */
  place = '';
  /** True if Redis has said that it has it. */
  isKnown = false;
  /** Its slot or place in the queue of this process, while Redis is away. */
  local: Slot | undefined;

  constructor(
    requester: Requester,
    isUnderWay: boolean,
    onMove: () => void,
    onRelease: (ticket: SharedTicket) => void,
  ) {
    const owner = ownerOf(requester);
    this.requester = requester;
    this.principal =
      typeof owner === 'string'
        ? hash(owner).slice(0, PRINCIPAL_UNITS) + turnOf(requester)
        : this.id;
    this.isUnderWay = isUnderWay;
    this.onMove = onMove;
    this.#onRelease = onRelease;
  }

  get isAcquired(): boolean {
    return this.status === 'acquired';
  }

  get flags(): string {
    const isPreemptible = this.requester.preemption?.isPreemptible === true;
    return `${this.isUnderWay ? 'u' : ''}${isPreemptible ? 'p' : ''}`;
  }

  release(): void {
    this.#onRelease(this);
  }
}

/**
 * The queue of a provider whose slots all processes share. Redis decides in one script who gets a slot,
 * by the rules of `Queue`. While Redis is away, the process has a queue and slots of its own.
 */
export class SharedQueue implements Queue {
  readonly #options: QueueOptions;
  readonly #pool: string;
  readonly #connection: RedisConnection;
  readonly #node: string;
  readonly #refusals: QueueRefusals;
  readonly #tickets = new Map<string, SharedTicket>();
  readonly #own: Queue;
  #isShared = false;
  #changes: Change[] = [];
  #isSending = false;
  #isListDue = false;
  /** True if this process has changed the places of its requests that wait. */
  #havePlacesChanged = false;
  #listedAt = -Infinity;
  #timer: NodeJS.Timeout | undefined;
  #timerEndsAt = Infinity;

  constructor(connection: RedisConnection, node: string, options: QueueOptions & { pool: string }) {
    this.#options = options;
    this.#pool = options.pool;
    this.#connection = connection;
    this.#node = node;
    this.#refusals = new QueueRefusals(options);
    this.#own = createQueue(options);
    this.#isShared = connection.isUp;
  }

  get running(): number {
    return this.#count('acquired');
  }

  get waiting(): number {
    return this.#count('waiting');
  }

  join(requester: Requester, isUnderWay: boolean, onMove: () => void): Slot {
    const ticket = new SharedTicket(requester, isUnderWay, onMove, (one) => this.#release(one));
    if (!this.#isShared) this.#joinOwn(ticket);
    this.#tickets.set(ticket.id, ticket);
    if (this.#isShared) {
      ticket.stopWatching = requester.preemption?.onChange(() => this.#send('flags', ticket));
      this.#send('join', ticket);
    }
    return ticket;
  }

  /** A message of a script: `granted:id` or `preempt:id`. */
  receive(message: string): void {
    const [word, id = ''] = message.split(':');
    const ticket = this.#tickets.get(id);
    if (ticket === undefined || !this.#isShared) return;
    if (word !== 'granted') return this.#preempt(ticket);
    this.#acquire(ticket);
    if (this.waiting === 0) return;
    this.#havePlacesChanged = true;
    this.#listSoon(0);
  }

  /** Redis can be reached: the process tells what it has, also beyond the number of slots. */
  share(): void {
    if (this.#isShared) return;
    this.#isShared = true;
    const tickets = [...this.#tickets.values()];
    const byWaiting = tickets.toSorted((a, b) => Number(a.isAcquired) - Number(b.isAcquired));
    for (const ticket of byWaiting) {
      // Those that wait leave first, so that none is given a slot.
      const { local } = ticket;
      ticket.local = undefined;
      local?.release();
    }
    for (const ticket of tickets) {
      const { preemption } = ticket.requester;
      ticket.stopWatching = preemption?.onChange(() => this.#send('flags', ticket));
      this.#send('keep', ticket);
    }
    // Redis may have tickets that were released meanwhile.
    this.#listSoon(0);
  }

  /** Redis is away: the process shares out the slots by itself. */
  unshare(): void {
    if (!this.#isShared) return;
    this.#isShared = false;
    this.#changes = [];
    this.close();
    const tickets = [...this.#tickets.values()];
    for (const ticket of tickets) {
      ticket.stopWatching?.();
      ticket.stopWatching = undefined;
      ticket.isKnown = false;
    }
    for (const ticket of tickets.filter(({ isAcquired }) => isAcquired)) this.#countOwn(ticket);
    for (const ticket of tickets.filter(({ status }) => status === 'waiting')) {
      try {
        this.#joinOwn(ticket);
      } catch (refusal) {
        ticket.refusal = refusal as StreamError;
        this.#tickets.delete(ticket.id);
      }
      ticket.onMove();
    }
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timerEndsAt = Infinity;
  }

  #count(status: SharedTicket['status']): number {
    let count = 0;
    for (const ticket of this.#tickets.values()) if (ticket.status === status) count += 1;
    return count;
  }

  /** @throws {StreamError} overloaded when the request may not wait. */
  #joinOwn(ticket: SharedTicket): void {
    let local: Slot | undefined;
    const update = (): void => {
      // A slot that is acquired at once calls nothing.
      if (local === undefined || ticket.local !== local) return;
      ticket.ahead = local.ahead;
      if (local.isAcquired && ticket.status === 'waiting') this.#markAcquired(ticket);
      ticket.onMove();
    };
    local = this.#own.join(ticket.requester, ticket.isUnderWay, update);
    ticket.local = local;
    ticket.ahead = local.ahead;
    if (local.isAcquired) this.#markAcquired(ticket);
  }

  /** Counts a slot that the process holds already. */
  #countOwn(ticket: SharedTicket): void {
    try {
      const local = this.#own.join(ticket.requester, true, () => {});
      if (local.isAcquired) ticket.local = local;
      // It holds one more than there are.
      else local.release();
    } catch {
      // It runs all the same.
    }
  }

  #markAcquired(ticket: SharedTicket): void {
    ticket.status = 'acquired';
    ticket.ahead = 0;
    ticket.acquiredAtMs = performance.now();
  }

  #acquire(ticket: SharedTicket): void {
    if (ticket.status !== 'waiting') return;
    this.#markAcquired(ticket);
    ticket.onMove();
  }

  #preempt(ticket: SharedTicket): void {
    const { preemption } = ticket.requester;
    if (preemption?.isPreemptible === true) preemption.preempt();
    // A reader has come back meanwhile.
    else if (ticket.status === 'waiting') this.#send('keep', ticket);
    else this.#send('flags', ticket);
  }

  #release(ticket: SharedTicket): void {
    if (ticket.status === 'released') return;
    if (ticket.status === 'acquired') this.#refusals.note(performance.now() - ticket.acquiredAtMs);
    ticket.status = 'released';
    ticket.stopWatching?.();
    this.#tickets.delete(ticket.id);
    ticket.local?.release();
    if (this.#isShared) this.#send('leave', ticket);
  }

  #send(type: Change['type'], ticket: SharedTicket): void {
    if (!this.#isShared) return;
    this.#changes.push({ type, ticket });
    if (type === 'leave') this.#havePlacesChanged = true;
    void this.#flush();
    this.#listSoon(RENEW_MS);
  }

  /** Reads what Redis has, after `ms` at the latest; it shows what messages have not said. */
  #listSoon(ms: number): void {
    const endsAt = performance.now() + ms;
    if (!this.#isShared || this.#timerEndsAt <= endsAt) return;
    clearTimeout(this.#timer);
    this.#timerEndsAt = endsAt;
    this.#timer = setTimeout(() => {
      this.#timerEndsAt = Infinity;
      this.#isListDue = true;
      void this.#flush();
    }, ms);
    this.#timer.unref();
  }

  /** One command is under way at a time; what comes meanwhile leaves together in the next. */
  async #flush(): Promise<void> {
    if (this.#isSending) return;
    this.#isSending = true;
    try {
      while (this.#isShared && (this.#changes.length > 0 || this.#isListDue)) await this.#call();
    } catch (cause) {
      this.#connection.noteFailed(cause);
      // `share` is called when the connection is open again, or else at the next look.
      this.unshare();
      setTimeout(() => {
        if (this.#connection.isUp) this.share();
      }, RENEW_MS).unref();
    } finally {
      this.#isSending = false;
    }
    if (this.#isShared && this.#changes.length > 0) void this.#flush();
  }

  async #call(): Promise<void> {
    const changes = this.#changes.splice(0, MAX_CHANGES);
    const list = this.#wantsPlaces ? 'all' : this.#isListDue ? 'own' : '';
    this.#isListDue = false;
    if (list === 'all') {
      this.#havePlacesChanged = false;
      this.#listedAt = performance.now();
    }
    const { concurrency, maxQueued } = this.#options;
    const args = changes.flatMap(({ type, ticket }) => [
      type,
      ticket.id,
      ticket.principal,
      ticket.flags,
      ticket.isAcquired ? 'r' : 'w',
      ticket.place,
    ]);
    const pool = [this.#pool, this.#node, LEASE_MS, LIVE_MS, concurrency, maxQueued, list];
    const reply = await this.#connection.write('slots', [...pool, ...args]);
    if (!this.#isShared) return;
    const [results, listed] = reply as [string[], Listed[]];
    for (const [i, { ticket }] of changes.entries()) this.#apply(ticket, results[i] ?? '');
    if (list !== '') this.#compare(listed);
    if (list === 'all') this.#readPlaces(listed);
    if (this.#wantsPlaces) this.#isListDue = true;
    if (this.#tickets.size > 0) this.#listSoon(this.waiting > 0 ? PLACES_MS : RENEW_MS);
  }

  get #wantsPlaces(): boolean {
    const isDue = this.#havePlacesChanged || performance.now() - this.#listedAt >= PLACES_MS;
    return this.waiting > 0 && isDue;
  }

  #apply(ticket: SharedTicket, result: string): void {
    const [word, value = ''] = result.split(':');
    if (word === '' || ticket.status === 'released') return;
    if (word === 'full' || word === 'own') {
      ticket.refusal =
        word === 'full' ? this.#refusals.full() : this.#refusals.tooMany(Number(value));
      ticket.stopWatching?.();
      this.#tickets.delete(ticket.id);
      return ticket.onMove();
    }
    ticket.isKnown = true;
    ticket.place = value;
    if (word === 'r') this.#acquire(ticket);
  }

  /** Corrects what Redis and this process know of the tickets of this process. */
  #compare(listed: readonly Listed[]): void {
    const own = new Map(listed.filter(([, , , node]) => node === this.#node).map((t) => [t[0], t]));
    for (const ticket of this.#tickets.values()) {
      const known = own.get(ticket.id);
      own.delete(ticket.id);
      if (known === undefined) {
        // The lease was over, or Redis has lost it.
        if (ticket.isKnown) this.#send('keep', ticket);
      } else if (known[1] === 'r') this.#acquire(ticket);
    }
    for (const id of own.keys()) this.#forgetElsewhere(id);
  }

  /** Redis has a ticket that this process does not know any more. */
  #forgetElsewhere(id: string): void {
    const stale = { id, principal: '', flags: '', isAcquired: false, place: '' };
    this.#changes.push({ type: 'leave', ticket: stale as SharedTicket });
  }

  #readPlaces(listed: readonly Listed[]): void {
    const byPlace = listed.toSorted((a, b) => Number(a[2]) - Number(b[2]));
    const requests = byPlace.map(([id, state, place, , principal, flags, turn]) => ({
      id,
      state,
      principal,
      place: Number(place),
      turn: Number(turn),
      isUnderWay: flags.includes('u'),
      isPreemptible: flags.includes('p'),
      isEnding: flags.includes('x'),
    }));
    const running = requests.filter(({ state }) => state === 'r');
    const waiting = requests.filter(({ state }) => state === 'w');
    const wanted = waiting.filter(({ isPreemptible }) => !isPreemptible);
    const fresh = wanted.filter(({ isUnderWay }) => !isUnderWay);
    const byPrincipal = new Map<string, typeof fresh>();
    for (const request of fresh) {
      const { principal } = request;
      byPrincipal.set(principal, [...(byPrincipal.get(principal) ?? []), request]);
    }
    const order = fairOrder({
      running: running.toSorted((a, b) => Number(b.isEnding) - Number(a.isEnding)),
      underWay: wanted.filter(({ isUnderWay }) => isUnderWay),
      waiting: new Map([...byPrincipal].toSorted((a, b) => a[1][0]!.turn - b[1][0]!.turn)),
    });
    const all = [...order, ...waiting.filter(({ isPreemptible }) => isPreemptible)];
    for (const [index, { id }] of all.entries()) {
      const ticket = this.#tickets.get(id);
      if (ticket?.status !== 'waiting' || ticket.ahead === index + 1) continue;
      ticket.ahead = index + 1;
      ticket.onMove();
    }
  }
}
