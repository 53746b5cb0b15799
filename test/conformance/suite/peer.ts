import { randomUUID } from 'node:crypto';
import {
  ERRORS,
  EVENT,
  type StreamResumeRequest,
  type StreamStartRequest,
} from '@rivulet/protocol';
import { io, type Socket } from 'socket.io-client';
import { onTestFinished } from 'vitest';
import { Inbox } from './inbox.js';
import type { Reading } from './reading.js';
import { doneReply, listReply, type Summary, wireError, type WireError } from './shapes.js';
import { serverUnderTest } from './server.js';

export interface PeerOptions {
  url?: string;
  /** In the handshake; a browser of its own unless given. */
  auth?: Record<string, unknown>;
  transports?: ('websocket' | 'polling')[];
}

type Question = StreamStartRequest & Record<string, unknown>;
type About = { stream_id: string } & Record<string, unknown>;

/** A client that holds every message it gets against PROTOCOL.md. Its test fails where one is wrong. */
export interface Peer {
  readonly socket: Socket;
  readonly inbox: Inbox;
  start(request: Question): Promise<Reading>;
  resume(request: StreamResumeRequest & Record<string, unknown>): Promise<Reading>;
  /** Starts without asking for a reply. */
  emitStart(request: StreamStartRequest & { stream_id: string }): Reading;
  /** The reply as it came. */
  ask(event: string, request?: unknown): Promise<unknown>;
  /** The reply is `{ ok: true }`. */
  done(event: string, request: About): Promise<void>;
  /** The reply is a refusal. */
  refused(event: string, request: unknown): Promise<WireError>;
  list(): Promise<Summary[]>;
  /** All that the server had sent until now has come. */
  caughtUp(): Promise<void>;
  ack(reading: Reading, offset?: number): void;
  /** Acknowledges all that comes, at once. */
  keepUp(reading: Reading): void;
  leave(): void;
}

/** A name that nobody can guess, for a browser, a stream or a script. */
export const newId = (): string => randomUUID();

/** Connects, or rejects with what `connect_error` has as its `data`. */
export async function connect(options: PeerOptions = {}): Promise<Peer> {
  const { auth = { browser_id: newId() }, transports = ['websocket'] } = options;
  const settings = { auth, transports, forceNew: true, reconnection: false };
  const socket = io(options.url ?? serverUnderTest().url, settings);
  const inbox = new Inbox(socket, auth['requests'] as Record<string, unknown>[] | undefined);
  onTestFinished(() => {
    socket.disconnect();
    inbox.throwFaults();
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('connect_error', (error) => reject('data' in error ? new Refused(error) : error));
  });
  return createPeer(socket, inbox);
}

/** A refused connection, as the server says why. */
export class Refused extends Error {
  override readonly name = 'Refused';
  readonly data: unknown;

  constructor(cause: Error & { data?: unknown }) {
    super(`refused: ${JSON.stringify(cause.data)}`, { cause });
    this.data = cause.data;
  }
}

/** The error that the server sends to a refused connection. */
export async function refusedConnection(options: PeerOptions): Promise<WireError> {
  const outcome = await connect(options).catch((error: unknown) => error);
  if (!(outcome instanceof Refused)) throw new Error('the connection was not refused');
  return checkError(outcome.data);
}

/** A WireError whose code, if this protocol has it, is as retryable as the table says. */
export function checkError(data: unknown): WireError {
  const error = wireError.parse(data);
  const known = Object.entries(ERRORS).find(([code]) => code === error.code)?.[1];
  if (known !== undefined && known.retryable !== error.retryable) {
    throw new Error(`${error.code} is ${known.retryable ? '' : 'not '}retryable`);
  }
  return error;
}

function createPeer(socket: Socket, inbox: Inbox): Peer {
  function request<T>(event: string, body: unknown, read: (reply: unknown) => T): Promise<T> {
    return inbox.reply((take) => socket.emit(event, body, take), read);
  }

  const peer: Peer = {
    socket,
    inbox,
    start: (body) =>
      request(EVENT.start, body, (reply) => inbox.open({ ...body, offset: 0 }, reply)),
    resume: (body) => request(EVENT.resume, body, (reply) => inbox.open(body, reply)),
    emitStart(body) {
      socket.emit(EVENT.start, body);
      const { stream_id: id } = body;
      return inbox.open(
        { ...body, offset: 0 },
        {
          ok: true,
          stream_id: id,
          status: 'waiting',
          epoch: 'unknown',
          attempt: 0,
        },
      );
    },
    ask: (event, body = {}) => request(event, body, (reply) => reply),
    done: (event, body) =>
      request(event, body, (reply) => {
        doneReply.parse(reply);
        if (event === EVENT.detach) inbox.left(body.stream_id);
      }),
    refused: (event, body) =>
      request(event, body, (reply) => {
        const { ok, error } = reply as { ok: unknown; error: unknown };
        if (ok !== false) throw new Error(`not refused: ${JSON.stringify(reply)}`);
        return checkError(error);
      }),
    list: () => request(EVENT.list, {}, (reply) => listReply.parse(reply).streams),
    caughtUp: async () => void (await peer.list()),
    ack(reading, offset = reading.next) {
      reading.acked = Math.max(reading.acked, offset);
      socket.emit(EVENT.ack, { stream_id: reading.id, offset });
    },
    keepUp(reading) {
      const acknowledge = (): void => {
        if (reading.acked < reading.next && !reading.isOver) peer.ack(reading);
      };
      inbox.onMessage(acknowledge);
      acknowledge();
    },
    leave: () => void socket.disconnect(),
  };
  return peer;
}
