import { CANCELLED } from '../stream-registry.js';
import { LIVE_MS, type RedisContext } from './context.js';
import { endArgs } from './records.js';

/** The reply of Redis to a heartbeat. */
export interface Ownership {
  /** Nodes whose lease is over, and that have left logs. */
  readonly dead: readonly string[];
  /** The gids of the logs whose owner is this process, as Redis has it. */
  readonly own: readonly string[];
}

export interface HeartbeatListener {
  /** Called after a heartbeat while Redis can be used, unless an earlier call has not ended. */
  onBeat(ownership: Ownership): Promise<void>;
}

/** A process says so often that it lives. */
export const BEAT_MS = 500;
/** Longer than the pause between two heartbeats and the time that Redis has to answer one. */
const LEASE_MS = 2_000;
/** The connection for messages is opened again after so many heartbeats that it did not deliver. */
const MAX_UNHEARD = 4;

/** Renews the lease of this process, finds processes that are dead, and a connection that delivers nothing. */
export class Heartbeat {
  readonly #context: RedisContext;
  readonly #listener: HeartbeatListener;
  #sent = 0;
  #sentAt = 0;
  #heard = 0;
  #isBeating = false;
  #isHandling = false;
  #isStopped = false;
  #hasOthers = false;
  #isDraining = false;
  #leaseTimer: NodeJS.Timeout | undefined;

  constructor(context: RedisContext, listener: HeartbeatListener) {
    this.#context = context;
    this.#listener = listener;
  }

  /** True if other processes could take over the logs of this one, as far as the last heartbeat tells. */
  get hasOthers(): boolean {
    return this.#hasOthers;
  }

  /** The connection for messages has delivered the heartbeat with this number. */
  hear(count: number): void {
    this.#heard = Math.max(this.#heard, count);
    if (count !== this.#sent) return;
    const seconds = (performance.now() - this.#sentAt) / 1000;
    this.#context.metrics.followerLagSeconds.record(seconds);
  }

  /** Counts heartbeats that are not delivered from now on. */
  restart(): void {
    this.#heard = this.#sent;
  }

  /** This process takes nothing over from now on, which the next heartbeat tells the others. */
  drain(): void {
    this.#isDraining = true;
  }

  stop(): void {
    clearTimeout(this.#leaseTimer);
    this.#isStopped = true;
  }

  /** A process that has not said for two heartbeats that it lives may be dead: looks again when its lease ends. */
  #beatAt(leaseEndsMs: number): void {
    clearTimeout(this.#leaseTimer);
    if (leaseEndsMs > LEASE_MS - 2 * BEAT_MS) return;
    this.#leaseTimer = setTimeout(() => void this.beat(), leaseEndsMs + 1).unref();
  }

  /** @returns false if Redis did not answer, or a heartbeat is under way. */
  async beat(): Promise<boolean> {
    const { node, store, limits } = this.#context;
    if (this.#isStopped || this.#isBeating || !store.isConnected) return false;
    this.#isBeating = true;
    try {
      const sent = ++this.#sent;
      this.#sentAt = performance.now();
      const ends = endArgs(CANCELLED, limits);
      const reply = await store.write('beat', [
        node,
        LEASE_MS,
        LIVE_MS,
        ...ends,
        sent,
        // After an outage, Redis does not know yet which readers are connected.
        store.isSteady ? '1' : '',
        this.#isDraining ? '1' : '',
      ]);
      store.noteBeat();
      const [others, dead, own, nextEndMs] = reply as [number, string[], string[], number];
      this.#hasOthers = others > 0;
      this.#beatAt(nextEndMs);
      if (store.isDegraded) return true;
      if (sent - this.#heard > MAX_UNHEARD) {
        this.#heard = sent;
        store.reopenSubscriber();
      }
      await store.checkMemory();
      void this.#handle({ dead, own });
      return true;
    } catch (cause) {
      store.noteBeat(cause);
      return false;
    } finally {
      this.#isBeating = false;
    }
  }

  /** The next heartbeats do not wait for the listener, which may ask Redis about many logs. */
  async #handle(ownership: Ownership): Promise<void> {
    if (this.#isHandling) return;
    this.#isHandling = true;
    try {
      await this.#listener.onBeat(ownership);
    } catch (cause) {
      this.#context.store.noteFailed(cause);
    } finally {
      this.#isHandling = false;
    }
  }
}
