import {
  type DoneReply,
  type ErrorReply,
  EVENT,
  LIMITS,
  type StreamListReply,
  type StreamReply,
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

interface Served {
  streams: StreamDirectory;
  limits: RateLimits;
  refusals: Refusals;
  logger: Logger;
}

/** Numbers the requests of all connections in the order in which they came. */
let nextArrival = 1;

/** Carries out what one connection asks for. */
export function serveSocket(socket: Socket, admission: Admission, served: Served): void {
  const server = new SocketRequests(socket, admission, served);
  for (const raw of admission.requests.splice(0)) server.carryOutOfHandshake(raw);
}

/** The requests of one socket, which are carried out in the order in which they came. */
class SocketRequests {
  readonly #admission: Admission;
  readonly #served: Served;
  readonly #subscriptions: Subscriptions;
  readonly #requests: Requests;
  /** Steps that wait for the one that is being carried out. */
  readonly #waiting: (() => void | Promise<void>)[] = [];
  #isBusy = false;

  constructor(socket: Socket, admission: Admission, served: Served) {
    this.#admission = admission;
    this.#served = served;
    this.#subscriptions = new Subscriptions(socket);
    this.#requests = new Requests(admission, this.#subscriptions, served);
    for (const name of REQUEST_NAMES) {
      socket.on(REQUESTS[name], (raw: unknown, reply: unknown) => this.#receive(name, raw, reply));
    }
    socket.on('disconnect', () => this.#disconnect());
  }

  carryOutOfHandshake(raw: unknown): void {
    this.#carryOutInTurn(isResume(raw) ? 'resume' : 'start', raw, (reply) => {
      const id = 'stream_id' in reply ? reply.stream_id : claimedEnvelope(raw).stream_id;
      const stream_id = id !== undefined && { stream_id: id };
      this.#subscriptions.outbox.emit(EVENT.reply, { type: EVENT.reply, ...stream_id, reply });
    });
  }

  #receive(name: RequestName, raw: unknown, reply: unknown): void {
    if (!this.#admission.account.isWithinLimits) return;
    this.#carryOutInTurn(name, raw, (result) => {
      const { outbox } = this.#subscriptions;
      if (typeof reply === 'function') {
        outbox.reply(() => (reply as Settle)(result));
      } else if (!result.ok && (name === 'start' || name === 'resume')) {
        // A client that asked for no reply.
        outbox.emit(EVENT.error, { type: EVENT.error, ...claimedEnvelope(raw), ...result.error });
      }
    });
  }

  #carryOutInTurn(name: RequestName, raw: unknown, settle: Settle): void {
    const { account } = this.#admission;
    const refuse = (cause: unknown): void =>
      settle({ ok: false, error: this.#served.refusals.refuse(cause, account.connectionId) });
    try {
      account.beginWaiting();
    } catch (cause) {
      return refuse(cause);
    }
    const arrival = nextArrival++;
    this.#inTurn(async () => {
      account.endWaiting();
      if (!account.isWithinLimits || !account.checkReads()) return;
      try {
        settle(await this.#requests[name](raw, arrival));
      } catch (cause) {
        refuse(cause);
      }
    });
  }

  #disconnect(): void {
    const { account, returns, principal } = this.#admission;
    account.leave();
    this.#inTurn(() => {
      this.#requests.disconnect();
      this.#subscriptions.disconnect();
      if (!returns) this.#served.streams.forgetPrincipal(principal);
    });
  }

  /** Runs a step once the earlier ones are done. */
  #inTurn(step: () => void | Promise<void>): void {
    this.#waiting.push(step);
    if (this.#isBusy) return;
    this.#isBusy = true;
    // What a request has a reader send in the next tick comes after the reply, which a microtask sends.
    queueMicrotask(() => void this.#carryOutWaiting());
  }

  async #carryOutWaiting(): Promise<void> {
    for (let step = this.#waiting.shift(); step !== undefined; step = this.#waiting.shift()) {
      try {
        await step();
      } catch (cause) {
        this.#served.refusals.refuse(cause, this.#admission.account.connectionId);
      }
    }
    this.#isBusy = false;
  }
}

function isResume(raw: unknown): boolean {
  return typeof raw === 'object' && raw !== null && 'type' in raw && raw.type === EVENT.resume;
}

/** The names in a refused message, so that its sender knows which of its requests it was. */
function claimedEnvelope(raw: unknown): Partial<Envelope> {
  const envelope: Partial<Envelope> = {};
  if (typeof raw !== 'object' || raw === null) return envelope;
  for (const name of ['stream_id', 'session_id'] as const) {
    const value: unknown = (raw as Partial<Record<string, unknown>>)[name];
    if (typeof value === 'string' && value.length <= LIMITS.idUnits) envelope[name] = value;
  }
  return envelope;
}
