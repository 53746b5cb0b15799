import {
  type DoneReply,
  type ErrorReply,
  EVENT,
  LIMITS,
  type StreamListReply,
  type StreamReply,
  type WireError,
} from '@rivulet/protocol';
import type { Socket } from 'socket.io';
import type { StreamDirectory } from '../deliver/stream-directory.js';
import type { Logger } from '../observe/logger.js';
import type { Envelope } from './encode.js';
import type { Admission } from './guard.js';
import type { RateLimits } from './rate-limits.js';
import type { Refusals } from './refusals.js';
import { Requests } from './requests.js';
import { Subscriptions } from './subscriptions.js';

type Reply = StreamReply | StreamListReply | DoneReply;
type RequestName = keyof typeof REQUESTS;
type Settle = (reply: Reply | ErrorReply) => void;

const REQUESTS = {
  start: EVENT.start,
  resume: EVENT.resume,
  ack: EVENT.ack,
  cancel: EVENT.cancel,
  detach: EVENT.detach,
  toolReply: EVENT.toolReply,
  list: EVENT.list,
} as const satisfies Partial<Record<Exclude<keyof Requests, 'disconnect'>, string>>;
const REQUEST_NAMES = Object.keys(REQUESTS) as RequestName[];

interface SocketDependencies {
  streams: StreamDirectory;
  limits: RateLimits;
  refusals: Refusals;
  logger: Logger;
}

/** Numbers the requests of all connections in the order in which they came. */
let nextArrival = 1;

/** Carries out the requests of one socket. */
export function serveSocket(
  socket: Socket,
  admission: Admission,
  served: SocketDependencies,
): void {
  const server = new SocketRequests(socket, admission, served);
  for (const raw of admission.requests.splice(0)) server.runHandshakeRequest(raw);
}

/** The requests of one socket. They are carried out in the order of their arrival. */
class SocketRequests {
  readonly #admission: Admission;
  readonly #served: SocketDependencies;
  readonly #subscriptions: Subscriptions;
  readonly #requests: Requests;
  /** Steps that wait for the current one. */
  readonly #queue: (() => void | Promise<void>)[] = [];
  #isBusy = false;

  constructor(socket: Socket, admission: Admission, served: SocketDependencies) {
    this.#admission = admission;
    this.#served = served;
    this.#subscriptions = new Subscriptions(socket);
    this.#requests = new Requests(admission, this.#subscriptions, served);
    for (const name of REQUEST_NAMES) {
      socket.on(REQUESTS[name], (raw: unknown, reply: unknown) => this.#receive(name, raw, reply));
    }
    socket.on('disconnect', () => this.#disconnect());
  }

  runHandshakeRequest(raw: unknown): void {
    this.#runInOrder(isResume(raw) ? 'resume' : 'start', raw, (reply) => {
      const id = 'stream_id' in reply ? reply.stream_id : claimedEnvelope(raw).stream_id;
      const stream_id = id !== undefined && { stream_id: id };
      this.#subscriptions.outbox.emit(EVENT.reply, { type: EVENT.reply, ...stream_id, reply });
    });
  }

  #receive(name: RequestName, raw: unknown, reply: unknown): void {
    if (!this.#admission.account.isWithinLimits) return;
    this.#runInOrder(name, raw, (result) => {
      const { outbox } = this.#subscriptions;
      if (typeof reply === 'function') {
        outbox.reply(() => (reply as Settle)(result));
      } else if (!result.ok && (name === 'start' || name === 'resume')) {
        // The client did not ask for a reply.
        outbox.emit(EVENT.error, { type: EVENT.error, ...claimedEnvelope(raw), ...result.error });
      }
    });
  }

  #runInOrder(name: RequestName, raw: unknown, settle: Settle): void {
    const { account } = this.#admission;
    const refuse = (cause: unknown): void => settle({ ok: false, error: this.#refuse(cause) });
    try {
      account.beginWaiting();
    } catch (cause) {
      return refuse(cause);
    }
    const arrival = nextArrival++;
    this.#enqueue(async () => {
      account.endWaiting();
      if (!account.isWithinLimits || !account.checkReads()) return;
      try {
        settle(await this.#requests[name](raw, arrival));
      } catch (cause) {
        refuse(cause);
      }
    });
  }

  #refuse(cause: unknown): WireError {
    const { connectionId, address } = this.#admission.account;
    return this.#served.refusals.refuse(cause, connectionId, address);
  }

  #disconnect(): void {
    const { account, canReconnect, principal } = this.#admission;
    account.leave();
    this.#enqueue(() => {
      this.#requests.disconnect();
      this.#subscriptions.disconnect();
      if (!canReconnect) this.#served.streams.forgetPrincipal(principal);
    });
  }

  /** Runs a step after the earlier ones. */
  #enqueue(step: () => void | Promise<void>): void {
    this.#queue.push(step);
    if (this.#isBusy) return;
    this.#isBusy = true;
    // A reader sends its messages in the next tick. A microtask sends the reply before them.
    queueMicrotask(() => void this.#runQueue());
  }

  async #runQueue(): Promise<void> {
    for (let step = this.#queue.shift(); step !== undefined; step = this.#queue.shift()) {
      try {
        await step();
      } catch (cause) {
        this.#refuse(cause);
      }
    }
    this.#isBusy = false;
  }
}

function isResume(raw: unknown): boolean {
  return typeof raw === 'object' && raw !== null && 'type' in raw && raw.type === EVENT.resume;
}

/** @returns the ids in a refused message, so that its sender can identify the request. */
function claimedEnvelope(raw: unknown): Partial<Envelope> {
  const envelope: Partial<Envelope> = {};
  if (typeof raw !== 'object' || raw === null) return envelope;
  for (const name of ['stream_id', 'session_id'] as const) {
    const value: unknown = (raw as Partial<Record<string, unknown>>)[name];
    if (typeof value === 'string' && value.length <= LIMITS.idUnits) envelope[name] = value;
  }
  return envelope;
}
