import {
  type DoneReply,
  type ErrorReply,
  EVENT,
  LIMITS,
  type StreamListReply,
  type StreamReply,
} from '@rivulet/protocol';
import type { Socket } from 'socket.io';
import type { Streams } from '../deliver/streams.js';
import type { Logger } from '../observe/logger.js';
import type { Envelope } from './encode.js';
import type { Admission } from './guard.js';
import type { RateLimits } from './rate-limits.js';
import { refusalOf } from './refusal.js';
import { createRequests } from './requests.js';
import { Subscriptions } from './subscriptions.js';

type Reply = StreamReply | StreamListReply | DoneReply;
type CarryOut = (raw: unknown) => Reply | Promise<Reply>;
type Settle = (reply: Reply | ErrorReply) => void;

/** Carries out what one connection asks for. */
export function serveSocket(
  socket: Socket,
  admission: Admission,
  { streams, limits, logger }: { streams: Streams; limits: RateLimits; logger: Logger },
): void {
  const { account } = admission;
  const subscriptions = new Subscriptions(socket);
  const requests = createRequests(admission, streams, subscriptions, limits);
  // What a client sends is carried out in its order, though some of it waits for a limit to be asked.
  let turn: Promise<void> = Promise.resolve();

  function inTurn(step: () => Promise<void> | void): void {
    turn = turn.then(step).catch((cause: unknown) => void refusalOf(cause, logger));
  }

  function carryOutInTurn(carryOut: CarryOut, raw: unknown, settle: Settle): void {
    const refuse = (cause: unknown): void => settle({ ok: false, error: refusalOf(cause, logger) });
    let begin: () => void;
    try {
      begin = account.request();
    } catch (cause) {
      return refuse(cause);
    }
    inTurn(async () => {
      begin();
      if (!account.isWithinLimits || !account.checkReads()) return;
      try {
        settle(await carryOut(raw));
      } catch (cause) {
        refuse(cause);
      }
    });
  }

  /** `tellRefusal` is how one reaches a client that asked for no reply. */
  function on(event: string, carryOut: CarryOut, tellRefusal?: (raw: unknown) => Settle): void {
    socket.on(event, (raw: unknown, reply: unknown) => {
      if (!account.isWithinLimits) return;
      const settle = typeof reply === 'function' ? (reply as Settle) : tellRefusal?.(raw);
      carryOutInTurn(carryOut, raw, settle ?? (() => {}));
    });
  }

  const tellRefusal =
    (raw: unknown): Settle =>
    (reply) => {
      if (reply.ok) return;
      socket.emit(EVENT.error, { type: EVENT.error, ...claimedEnvelope(raw), ...reply.error });
    };

  for (const raw of admission.requests.splice(0)) {
    const carryOut = isAttach(raw) ? requests.resume : requests.start;
    carryOutInTurn(carryOut, raw, (reply) => {
      const id = 'stream_id' in reply ? reply.stream_id : claimedEnvelope(raw).stream_id;
      const stream_id = id !== undefined && { stream_id: id };
      socket.emit(EVENT.reply, { type: EVENT.reply, ...stream_id, reply });
    });
  }
  on(EVENT.start, requests.start, tellRefusal);
  on(EVENT.resume, requests.resume, tellRefusal);
  on(EVENT.ack, requests.ack);
  on(EVENT.cancel, requests.cancel);
  on(EVENT.detach, requests.detach);
  on(EVENT.toolReply, requests.toolReply);
  on(EVENT.list, requests.list);
  socket.on('disconnect', () => {
    account.leave();
    inTurn(() => {
      subscriptions.disconnect();
      if (!admission.returns) streams.forgetPrincipal(admission.principal);
    });
  });
}

function isAttach(raw: unknown): boolean {
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
