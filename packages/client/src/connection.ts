import {
  type ErrorReply,
  EVENT,
  PROTOCOL_VERSION,
  type ShortChunk,
  type StreamListReply,
  type LogMessage,
  type StreamReplyMessage,
  type StreamReply,
  type StreamQueuedMessage,
  type WireError,
} from '@rivulet/protocol';
import { Observable } from 'rxjs';
import { backoffMs } from './backoff.js';
import { createLatest } from './latest.js';
import type { Link } from './link.js';
import { decode, decodeShort, knownError } from './receive.js';
import { createSession } from './session.js';
import { CONNECT_TIMEOUT_MS, createSocket, openSocket, type Socket } from './socket.js';
import type { ClientOptions, ConnectionStatus } from './types.js';
import { onWake } from './wake.js';
import { createWatchdog } from './watchdog.js';

/** One socket for all streams of a client. It connects when first needed. */
export interface Connection {
  /** Subscribing connects. */
  readonly status$: Observable<ConnectionStatus>;
  /** Opens `link` now or as soon as there is a connection, and again each time that comes back. */
  join(link: Link): () => void;
  /** Opens `link` again, since something of it is missing. */
  reopen(link: Link): void;
  acknowledge(streamId: string, offset: number): void;
  /** Says it at each connect until the server has heard it. */
  tell(event: Errand['event'], message: Errand['message']): void;
  /** Which streams the server has under way, unless the connection goes first. */
  list(reply: (answer: StreamListReply | ErrorReply) => void): void;
  close(): void;
}

/** The connection to one server at a time. */
export interface ServerConnection extends Connection {
  /** True while the server is shutting down and streams are still read here. */
  readonly isClosing: boolean;
  readonly isClosed: boolean;
  /** @returns true if the stream was read here when `retire()` was called. */
  has(streamId: string): boolean;
  /** Closes once nothing is read here any more; new questions go to another connection. */
  retire(): void;
}

export interface ServerConnectionOptions {
  /** The same for all connections of a client. */
  browserId(): string;
  /** True if a server that is shutting down is to refuse the connection. */
  forNewStreams: boolean;
  /** A question that a closing server refused; another connection is to ask it. */
  refusedNew(link: Link): void;
}

type Reply = StreamReply | ErrorReply;

/** `waiting` for the next try; `refused` until something new is asked. */
type Phase = 'idle' | 'trying' | 'connected' | 'waiting' | 'refused' | 'closed';

interface Errand {
  event: typeof EVENT.cancel | typeof EVENT.detach;
  message: { stream_id: string; reader_id?: string };
}

const REPLY_TIMEOUT_MS = 10_000;
/** A server that lets a client in and drops it at once is to be asked ever more seldom. */
const STABLE_MS = 5_000;
/** Spreads the clients of a closing server that have nothing to ask. */
const MOVE_ON_MS = 500;
const NEW_STREAMS = { new_streams: true };
const NAMED = [EVENT.start, EVENT.chunk, EVENT.thought, EVENT.tool, EVENT.end, EVENT.error];

export function createConnection(
  url: string | undefined,
  auth: ClientOptions['auth'],
  { browserId, forNewStreams, refusedNew }: ServerConnectionOptions,
): ServerConnection {
  const status = createLatest<ConnectionStatus>();
  status.next('connecting');
  const links = new Map<string, Link>();
  const errands = new Set<Errand>();
  const watchdog = createWatchdog(
    () => phase === 'connected' && socket?.emit(EVENT.list, {}, () => {}),
    () => phase === 'connected' && socket?.io.engine.close(),
  );
  let socket: Socket | undefined;
  let session = createSession();
  let phase: Phase = 'idle';
  let failures = 0;
  let connectedAt = 0;
  /** Tokens refused in a row. */
  let refusals = 0;
  let retryTimer: ReturnType<typeof setTimeout> | undefined;
  let connectTimer: ReturnType<typeof setTimeout> | undefined;
  let stopListening = (): void => {};
  /** True after a server began to shut down, until another one accepts the connection. */
  let avoidsClosing = forNewStreams;
  /** True while the next attempt is delayed only because there was nothing to ask. */
  let isMovingOn = false;
  /** The streams that were read here when this connection was retired. */
  let retired: Set<string> | undefined;

  function connect(): Socket {
    if (socket === undefined) {
      socket = listenTo(createSocket(url, (send) => void handshake(send)));
      stopListening = onWake(awake);
    }
    if (phase === 'idle' || phase === 'refused' || isMovingOn) attempt();
    return socket;
  }

  function listenTo(created: Socket): Socket {
    created.io.on('open', () => {
      const { engine } = created.io;
      engine.on('packet', watchdog.heard);
      connectTimer = setTimeout(() => engine.close(), CONNECT_TIMEOUT_MS);
    });
    created.on('connect', connected);
    created.on('connect_error', (error: Error & { data?: WireError }) => failed(error.data));
    created.on('disconnect', (reason) => {
      if (reason !== 'io client disconnect') failed();
    });
    for (const event of NAMED) {
      created.on(event, (message: LogMessage) => {
        const frame = decode(message);
        if (frame !== undefined) links.get(message.stream_id ?? '')?.receive(frame);
      });
    }
    created.on(EVENT.queued, ({ stream_id, ahead }: StreamQueuedMessage) => {
      links.get(stream_id)?.queued(ahead);
    });
    created.on(EVENT.shortChunk, (...chunk: ShortChunk) => {
      session.byRef(chunk[0])?.receive(decodeShort(chunk));
    });
    created.on(EVENT.reply, ({ reply }: StreamReplyMessage) => {
      const link = session.nextCarried();
      if (!session.awaitsReplies) clearTimeout(connectTimer);
      if (link !== undefined) replied(link, reply);
    });
    created.on(EVENT.closing, () => {
      session.isClosing = true;
      moveOn();
    });
    return created;
  }

  function attempt(): void {
    if (socket === undefined || phase === 'trying' || phase === 'connected') return;
    clearTimeout(retryTimer);
    isMovingOn = false;
    phase = 'trying';
    session = createSession();
    openSocket(socket, () => {
      if (phase === 'trying') failed();
    });
  }

  async function currentToken(): Promise<string | undefined> {
    return auth?.({ refused: refusals > 0 });
  }

  /** What is said while connecting: who this is, and what is to be opened. */
  async function handshake(send: (data: object) => void): Promise<void> {
    const own = session;
    let token: string | undefined;
    try {
      token = await currentToken();
    } catch {
      // Not to be had now, as when the network is away: that is a connection that failed.
      if (session === own) socket?.io.engine.close();
      return;
    }
    if (session !== own) return;
    const requests = own.carry(links.values());
    send({
      protocol: PROTOCOL_VERSION.newest,
      browser_id: browserId(),
      ...(token !== undefined && { token }),
      ...(avoidsClosing && requests.every(({ type }) => type === EVENT.start) && NEW_STREAMS),
      ...(requests.length > 0 && { requests }),
    });
  }

  function connected(): void {
    phase = 'connected';
    connectedAt = Date.now();
    refusals = 0;
    avoidsClosing = false;
    watchdog.heard();
    status.next('connected');
    if (!session.awaitsReplies) clearTimeout(connectTimer);
    for (const errand of errands) run(errand);
    for (const link of links.values()) if (!session.has(link)) read(link);
  }

  /** The connection broke, could not be made, or was refused. */
  function failed(refusal?: WireError, atLeastMs = refusal?.retry_after_ms ?? 0): void {
    clearTimeout(connectTimer);
    if (phase === 'connected' && Date.now() - connectedAt > STABLE_MS) failures = 0;
    if (refusal?.code === 'unauthorized') {
      refusals += 1;
      if (auth === undefined || refusals > 1) return refused(knownError(refusal));
    } else if (refusal?.retryable === false) {
      return refused(knownError(refusal));
    }
    phase = 'waiting';
    status.next(isOffline() ? 'offline' : 'reconnecting');
    for (const link of links.values()) link.disconnected();
    if (isClosed()) return;
    const waitMs = Math.max(backoffMs(failures), atLeastMs);
    failures += 1;
    clearTimeout(retryTimer);
    retryTimer = setTimeout(attempt, waitMs);
  }

  /** Another try would be refused, too. */
  function refused(error: WireError): void {
    phase = 'refused';
    refusals = 0;
    status.next('offline');
    for (const link of links.values()) link.refused(error);
  }

  /** A subscriber may have closed the client. */
  function isClosed(): boolean {
    return phase === 'closed';
  }

  function awake(): void {
    if (phase === 'connected') watchdog.check();
    else if (phase === 'waiting') attempt();
  }

  /** A reply that does not come means that the link is dead though it does not look so. */
  function ask(event: string, message: object, reply: (answer: never) => void): void {
    const asked = socket;
    if (!asked?.connected) return;
    const { engine } = asked.io;
    asked.timeout(REPLY_TIMEOUT_MS).emit(event, message, (error: Error | null, answer: never) => {
      if (error === null) reply(answer);
      else engine.close();
    });
  }

  function read(link: Link): void {
    if (phase !== 'connected') return;
    const own = session;
    own.add(link);
    const request = link.request();
    ask(request.type, request, (reply: Reply) => {
      if (session === own) replied(link, reply);
    });
  }

  function replied(link: Link, reply: Reply): void {
    // A link that left in the meantime must not hear what is still on its way.
    if (links.get(link.id) !== link) return;
    if (session.isClosing && !reply.ok && reply.error.code === 'overloaded') {
      // The question crossed the notice.
      session.remove(link);
      if (session.readsNothing && retired === undefined) return moveOn();
      links.delete(link.id);
      refusedNew(link);
      return moveOn();
    }
    if (reply.ok) failures = 0;
    if (reply.ok && reply.ref !== undefined) session.bind(reply.ref, link);
    link.replied(reply);
  }

  function run(errand: Errand): void {
    ask(errand.event, errand.message, () => {
      errands.delete(errand);
      moveOn();
    });
  }

  /** Leaves a closing server once nothing is read there any more. */
  function moveOn(): void {
    if (retired !== undefined && links.size === 0 && errands.size === 0) return close();
    if (phase !== 'connected' || !session.isClosing || !session.readsNothing || errands.size > 0)
      return;
    session.isClosing = false;
    avoidsClosing = true;
    isMovingOn = links.size === 0;
    socket?.disconnect();
    failed(undefined, isMovingOn ? MOVE_ON_MS * (1 + Math.random()) : 0);
  }

  function leave(link: Link): void {
    if (links.get(link.id) === link) links.delete(link.id);
    session.remove(link);
    watchdog.watch(links.size > 0);
    // A cancel or detach may follow, and is for this server.
    queueMicrotask(moveOn);
  }

  function close(): void {
    if (phase === 'closed') return;
    clearTimeout(retryTimer);
    clearTimeout(connectTimer);
    watchdog.watch(false);
    stopListening();
    phase = 'closed';
    retired?.clear();
    socket?.disconnect();
    socket = undefined;
    status.next('closed');
    status.complete();
    for (const link of links.values()) link.closed();
    links.clear();
  }

  return {
    status$: new Observable((subscriber) => {
      if (phase !== 'closed') connect();
      return status.value$.subscribe(subscriber);
    }),
    join(link) {
      if (phase === 'closed') {
        link.closed();
        return () => {};
      }
      // Who comes back need not say any more that it left.
      for (const errand of errands) {
        const isDetach = errand.event === EVENT.detach;
        if (isDetach && errand.message.stream_id === link.id) errands.delete(errand);
      }
      links.set(link.id, link);
      watchdog.watch(true);
      if (connect().connected) read(link);
      return () => leave(link);
    },
    reopen: read,
    acknowledge(streamId, offset) {
      // Out of a connection it would be kept, and sent when it means nothing any more.
      if (socket?.connected) socket.emit(EVENT.ack, { stream_id: streamId, offset });
    },
    tell(event, message) {
      if (phase === 'closed') return;
      const errand = { event, message };
      errands.add(errand);
      if (connect().connected) run(errand);
    },
    list: (reply) => ask(EVENT.list, {}, reply),
    close,
    get isClosing() {
      return phase === 'connected' && session.isClosing;
    },
    get isClosed() {
      return isClosed();
    },
    has: (streamId) => retired?.has(streamId) === true,
    retire() {
      retired = new Set(links.keys());
      moveOn();
    },
  };
}

/** What a browser knows; Node has no navigator, or one that does not. */
function isOffline(): boolean {
  const { navigator } = globalThis as { navigator?: { onLine?: boolean } };
  return navigator?.onLine === false;
}
