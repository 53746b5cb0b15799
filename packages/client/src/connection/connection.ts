import {
  type ErrorReply,
  EVENT,
  type LogMessage,
  PROTOCOL_VERSION,
  type ShortChunk,
  StreamError,
  type StreamChangedMessage,
  type StreamListReply,
  type StreamLoadingMessage,
  type StreamQueuedMessage,
  type StreamReply,
  type StreamReplyMessage,
  type StreamSummary,
  type WireError,
} from '@rivulet/protocol';
import type { Observable } from 'rxjs';
import { byteLength } from '../byte-length.js';
import { createLatest } from '../latest.js';
import type { ConnectionState } from '../types.js';
import { backoffMs, closeRetryMs } from './backoff.js';
import type { ConnectionOptions } from './connections.js';
import { decode, decodeShort, type Frame, knownError } from './frame.js';
import type { Link } from './link.js';
import { createSession, type Session } from './session.js';
import { closeSocket, openSocket, type Socket, type SocketOptions } from './socket.js';
import { onWake } from './wake.js';
import { createWatchdog, type Watchdog } from './watchdog.js';

/** One socket for all streams of a client. It is opened when it is first needed. */
export interface Connection {
  /** The state now, then each change; completes with `close()`. Subscribing does not connect. */
  readonly state$: Observable<ConnectionState>;
  /** Connects, and keeps the socket open until the returned function is called. */
  hold(): () => void;
  /** Opens `link` now or as soon as there is a connection, and again on each new connection. */
  join(link: Link): () => void;
  /** Opens `link` again, since something of it is missing. */
  reopen(link: Link): void;
  acknowledge(streamId: string, offset: number): void;
  /** Sends the message on each new connection until the server has replied to it. */
  tell(event: Errand['event'], message: Errand['message']): void;
  /**
   * Asks which streams of this user are running. No reply comes if the connection breaks first. `changed` is
   * called with each later change, until the connection ends.
   */
  list(
    reply: (answer: StreamListReply | ErrorReply) => void,
    changed: (stream: StreamSummary) => void,
  ): void;
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
  browserId(): Promise<string>;
  /** True if a server that is shutting down is to refuse the connection. */
  forNewStreams: boolean;
  /** A question that a closing server refused; another connection is to ask it. */
  refusedNew(link: Link): void;
}

type Reply = StreamReply | ErrorReply;
type Timer = ReturnType<typeof setTimeout>;

interface NoSocket {
  socket?: undefined;
  session?: undefined;
  watchdog?: undefined;
  timer?: undefined;
}

/** A state owns its timers and its socket: `enter()` ends them with the state. */
type State =
  | (NoSocket & { status: 'idle' })
  | {
      status: 'trying';
      socket: Socket;
      session: Session;
      transport: SocketOptions['transport'];
      /** Ends an attempt that the server does not answer. */
      timer: Timer;
      watchdog?: undefined;
    }
  | {
      status: 'connected';
      socket: Socket;
      session: Session;
      since: number;
      watchdog: Watchdog;
      /** Closes a socket that nothing needs. */
      timer: Timer | undefined;
    }
  | (Omit<NoSocket, 'timer'> & {
      status: 'waiting';
      /** Begins the next attempt. */
      timer: Timer;
      /** True if the server asked for the delay: a question does not cut it short. */
      isRequired: boolean;
    })
  /** Until something new is asked. */
  | (NoSocket & { status: 'refused' })
  /** The client is closed, and the server is told what it left. */
  | { status: 'closing'; socket: Socket; session: Session; timer: Timer; watchdog?: undefined }
  | (NoSocket & { status: 'closed' });

interface Errand {
  event: typeof EVENT.cancel | typeof EVENT.detach;
  message: { stream_id: string; reader_id?: string };
}

/** A WebSocket that is not open by then may never be: some proxies do not answer upgrades. */
const WEBSOCKET_TIMEOUT_MS = 4_000;
const CONNECT_TIMEOUT_MS = 15_000;
/** An outage of this length is probably over soon, so the attempts are close to each other. */
const CLOSE_RETRIES_MS = 5_000;
/** A connection that lasts this long was good: the delays begin again with the shortest. */
const STABLE_MS = 5_000;
/** The load balancer removes the closing server by then; connecting earlier could reach it again. */
const MOVE_ON_MS = 500;
/** The time to tell the server what was left, when the client is closed. */
const CLOSE_MS = 1_000;
const NEW_STREAMS = { new_streams: true };
const NAMED = [EVENT.start, EVENT.chunk, EVENT.thought, EVENT.tool, EVENT.end, EVENT.error];

const OFFLINE: ConnectionState = Object.freeze({ status: 'reconnecting', reason: 'offline' });

export function createConnection(
  { url, path, auth, idleCloseMs }: ConnectionOptions,
  { browserId, forNewStreams, refusedNew }: ServerConnectionOptions,
): ServerConnection {
  const latest = createLatest<ConnectionState>();
  show({ status: 'idle' });
  const links = new Map<string, Link>();
  const errands = new Set<Errand>();
  let state: State = { status: 'idle' };
  let holders = 0;
  /** Undefined unless the connection is lost, or could not be made. */
  let outage: { since: number; attempts: number } | undefined;
  /** Sets the next delay of the backoff. */
  let failures = 0;
  /** Tokens refused in a row. */
  let refusals = 0;
  /** True if the last connection was dead before any frame came. */
  let wasDead = false;
  /** True after polling worked where a WebSocket did not, until an upgrade succeeds. */
  let needsPolling = false;
  let stopListening: (() => void) | undefined;
  /** True after a server began to shut down, until another one accepts the connection. */
  let avoidsClosing = forNewStreams;
  /** The streams that were read here when this connection was retired. */
  let retired: Set<string> | undefined;
  let onChanged: ((stream: StreamSummary) => void) | undefined;

  function show(next: ConnectionState): void {
    latest.next(Object.freeze(next));
  }

  function enter(next: State): void {
    const previous = state;
    state = next;
    clearTimeout(previous.timer);
    previous.watchdog?.watch(false);
    if (previous.socket && !stateOf(previous.socket)) closeSocket(previous.socket);
  }

  /** The state of which `socket` is the socket, unless that is over. */
  function stateOf(socket: Socket): Extract<State, { socket: Socket }> | undefined {
    return state.socket === socket ? state : undefined;
  }

  /** Connects at once, unless the server asked for a delay. */
  function connect(): void {
    stopListening ??= onWake(awake);
    const waits = state.status === 'waiting' && !state.isRequired;
    if (waits || state.status === 'idle' || state.status === 'refused') attempt();
  }

  function attempt(transport: SocketOptions['transport'] = needsPolling ? 'polling' : 'websocket') {
    if (!hasOrigin(url)) {
      return enter({ status: 'waiting', timer: setTimeout(refused, 0, NO_URL), isRequired: true });
    }
    const socket = openSocket(
      { url, path, transport, auth: (send) => void handshake(socket, send) },
      lost,
    );
    const timeoutMs = transport === 'websocket' ? WEBSOCKET_TIMEOUT_MS : CONNECT_TIMEOUT_MS;
    const timer = setTimeout(lost, timeoutMs, socket);
    const isNews = state.status !== 'trying' && outage === undefined;
    enter({ status: 'trying', socket, session: createSession(), transport, timer });
    listenTo(socket);
    if (isNews) show({ status: 'connecting' });
  }

  function listenTo(socket: Socket): void {
    socket.io.on('open', () => opened(socket));
    socket.on('connect', () => connected(socket));
    socket.on('connect_error', (error) => lost(socket, error));
    socket.on('disconnect', () => lost(socket));
    for (const event of NAMED) {
      socket.on(event, (message: LogMessage) => {
        const frame = decode(message);
        if (frame !== undefined) receive(links.get(message.stream_id ?? ''), frame);
      });
    }
    socket.on(EVENT.queued, ({ stream_id, ahead }: StreamQueuedMessage) => {
      links.get(stream_id)?.queued(ahead);
    });
    socket.on(EVENT.loading, ({ stream_id, provider, model }: StreamLoadingMessage) => {
      links.get(stream_id)?.loading({ provider, model });
    });
    socket.on(EVENT.shortChunk, (...chunk: ShortChunk) => {
      receive(stateOf(socket)?.session.byRef(chunk[0]), decodeShort(chunk));
    });
    socket.on(EVENT.reply, ({ reply }: StreamReplyMessage) => {
      const link = stateOf(socket)?.session.nextCarried();
      if (link !== undefined) replied(link, reply);
    });
    socket.on(EVENT.changed, ({ stream }: StreamChangedMessage) => onChanged?.(stream));
    socket.on(EVENT.closing, () => {
      const current = stateOf(socket);
      if (current !== undefined) current.session.isClosing = true;
      moveOn();
    });
  }

  function receive(link: Link | undefined, frame: Frame): void {
    wasDead = false;
    link?.receive(frame);
  }

  /** The transport is open; the handshake of Socket.IO follows. */
  function opened(socket: Socket): void {
    const { engine } = socket.io;
    if (engine.transport.name === 'polling') needsPolling = true;
    engine.on('upgrade', () => {
      needsPolling = false;
    });
    engine.on('packet', ({ data }: { data?: unknown }) => {
      const current = stateOf(socket);
      if (current?.status !== 'connected') return;
      current.watchdog.heard(typeof data === 'string' ? data.length : 0);
    });
    allowTime(socket, 0);
  }

  /** Allows an attempt the usual time, and a millisecond for each byte that it sends. */
  function allowTime(socket: Socket, bytes: number): void {
    const current = stateOf(socket);
    if (current?.status !== 'trying') return;
    clearTimeout(current.timer);
    current.timer = setTimeout(lost, CONNECT_TIMEOUT_MS + bytes, socket);
  }

  /** Sends who this client is and which streams are to be opened. */
  async function handshake(socket: Socket, send: (data: object) => void): Promise<void> {
    let ownId: string;
    let token: string | undefined;
    try {
      ownId = await browserId();
      token = await auth?.({ refused: refusals > 0 });
    } catch {
      // The app cannot get them now, for example without a network.
      if (stateOf(socket) !== undefined) failed(undefined, true);
      return;
    }
    const current = stateOf(socket);
    if (current === undefined) return;
    const requests = current.session.carry(links.values());
    const payload = {
      protocol: PROTOCOL_VERSION.newest,
      browser_id: ownId,
      ...(token !== undefined && { token }),
      ...(avoidsClosing && requests.every(({ type }) => type === EVENT.start) && NEW_STREAMS),
      ...(requests.length > 0 && { requests }),
    };
    allowTime(socket, byteLength(JSON.stringify(payload)));
    send(payload);
  }

  function connected(socket: Socket): void {
    if (state.status !== 'trying') return;
    const { session } = state;
    const watchdog = createWatchdog({
      probe: () => socket.emit(EVENT.list, {}, () => {}),
      dead() {
        wasDead = true;
        lost(socket);
      },
      unansweredBytes: () => session.unansweredBytes,
      isFirst: !wasDead,
    });
    enter({ status: 'connected', socket, session, since: Date.now(), watchdog, timer: undefined });
    refusals = 0;
    avoidsClosing = false;
    outage = undefined;
    show({ status: 'connected' });
    for (const errand of errands) run(errand);
    for (const link of links.values()) if (!session.has(link)) read(link);
    needsChanged();
  }

  /** The connection broke, or the attempt failed. */
  function lost(socket: Socket, error?: ConnectError): void {
    const current = stateOf(socket);
    if (current === undefined) return;
    if (current.status === 'closing') return enter({ status: 'closed' });
    const refusal = error?.data;
    if (current.status === 'trying' && current.transport === 'websocket' && refusal === undefined) {
      return attempt('polling');
    }
    failed(refusal, refusal !== undefined || isClientError(error?.description));
  }

  /** @param isAnswered true if trying again at once is of no use, though the line is there. */
  function failed(refusal: WireError | undefined, isAnswered: boolean): void {
    const now = Date.now();
    if (state.status === 'connected' && now - state.since > STABLE_MS) failures = 0;
    if (refusal?.code === 'unauthorized') {
      refusals += 1;
      if (auth === undefined || refusals > 1) return refused(knownError(refusal));
    } else if (refusal?.retryable === false) {
      return refused(knownError(refusal));
    }
    outage ??= { since: now, attempts: 0 };
    if (state.status === 'trying') outage.attempts += 1;
    const isClose =
      state.status === 'trying' && !isAnswered && now - outage.since < CLOSE_RETRIES_MS;
    const requiredMs = refusal?.retry_after_ms ?? 0;
    retryIn(isClose ? closeRetryMs() : Math.max(backoffMs(failures++), requiredMs), requiredMs > 0);
  }

  function retryIn(delayMs: number, isRequired: boolean): void {
    if (idleCloseMs !== undefined && !isNeeded()) return becomeIdle();
    enter({ status: 'waiting', timer: setTimeout(attempt, delayMs), isRequired });
    // Node.js and React Native have no `navigator.onLine`.
    const { navigator } = globalThis as { navigator?: { onLine?: boolean } };
    if (navigator?.onLine === false) latest.next(OFFLINE);
    else {
      const attempts = outage?.attempts ?? 0;
      show({
        status: 'reconnecting',
        reason: 'unreachable',
        url: url ?? location.origin,
        attempts,
      });
    }
    for (const link of links.values()) link.disconnected();
  }

  /** A further attempt would be refused, too. */
  function refused(error: WireError): void {
    enter({ status: 'refused' });
    refusals = 0;
    outage = undefined;
    const { code, message, retryable, retry_after_ms: retryAfterMs } = error;
    const reason = new StreamError(code, message, { retryable, retryAfterMs });
    show({ status: 'refused', error: reason });
    for (const link of links.values()) link.refused(error);
  }

  function becomeIdle(): void {
    enter({ status: 'idle' });
    outage = undefined;
    show({ status: 'idle' });
  }

  /** The page may have been suspended, or the network is back. */
  function awake(isOnline: boolean): void {
    if (state.status === 'connected') state.watchdog.check();
    else if (state.status === 'waiting') connect();
    // The packets of an attempt that began without a network are lost.
    else if (state.status === 'trying' && isOnline) attempt();
  }

  function isClosed(): boolean {
    return state.status === 'closing' || state.status === 'closed';
  }

  function isNeeded(): boolean {
    return links.size > 0 || errands.size > 0 || holders > 0;
  }

  /** Something that the connection is needed for has come or gone. */
  function needsChanged(): void {
    if (state.status !== 'connected') return;
    const { socket, session, watchdog } = state;
    watchdog.watch(links.size > 0 || session.unansweredBytes > 0);
    clearTimeout(state.timer);
    if (idleCloseMs === undefined || isNeeded()) return;
    state.timer = setTimeout(() => stateOf(socket) && becomeIdle(), idleCloseMs);
  }

  /** The watchdog notices when no reply comes. */
  function ask(event: string, message: object, reply: (answer: never) => void): void {
    if (state.status !== 'connected') return;
    const { socket, session } = state;
    const bytes = byteLength(JSON.stringify(message));
    session.unansweredBytes += bytes;
    needsChanged();
    socket.emit(event, message, (answer: never) => {
      session.unansweredBytes -= bytes;
      if (stateOf(socket) === undefined) return;
      needsChanged();
      reply(answer);
    });
  }

  function read(link: Link): void {
    if (state.status !== 'connected') return;
    const { session } = state;
    session.add(link);
    const request = link.request();
    ask(request.type, request, (reply: Reply) => replied(link, reply));
  }

  function replied(link: Link, reply: Reply): void {
    // A link that left in the meantime does not hear replies that are still on their way.
    if (state.status !== 'connected' || links.get(link.id) !== link) return;
    const { session } = state;
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
      needsChanged();
      moveOn();
      if (state.status === 'closing' && errands.size === 0) enter({ status: 'closed' });
    });
  }

  /** Leaves a closing server for the next one, once nothing is read here any more. */
  function moveOn(): void {
    if (retired !== undefined && links.size === 0 && errands.size === 0) return close();
    if (state.status !== 'connected') return;
    const { isClosing, readsNothing } = state.session;
    if (!isClosing || !readsNothing || errands.size > 0) return;
    avoidsClosing = true;
    retryIn(links.size === 0 ? MOVE_ON_MS * (1 + Math.random()) : 0, false);
  }

  function leave(link: Link): void {
    if (links.get(link.id) === link) links.delete(link.id);
    state.session?.remove(link);
    needsChanged();
    // A cancel or detach may follow, and is for this server.
    queueMicrotask(moveOn);
  }

  function close(): void {
    if (isClosed()) return;
    retired?.clear();
    // Socket.IO drops a message that comes in one turn with the end of its connection.
    if (state.status === 'connected' && errands.size > 0) {
      const { socket, session } = state;
      const timer = setTimeout(() => enter({ status: 'closed' }), CLOSE_MS);
      enter({ status: 'closing', socket, session, timer });
    } else enter({ status: 'closed' });
    stopListening?.();
    show({ status: 'closed' });
    latest.complete();
    for (const link of links.values()) link.closed();
    links.clear();
  }

  return {
    state$: latest.value$,
    hold() {
      holders += 1;
      if (!isClosed()) connect();
      needsChanged();
      return () => {
        holders -= 1;
        needsChanged();
      };
    },
    join(link) {
      if (isClosed()) {
        link.closed();
        return () => {};
      }
      // A reader that is back need not say any more that it left.
      for (const errand of errands) {
        const isDetach = errand.event === EVENT.detach;
        if (isDetach && errand.message.stream_id === link.id) errands.delete(errand);
      }
      links.set(link.id, link);
      connect();
      read(link);
      needsChanged();
      return () => leave(link);
    },
    reopen: read,
    acknowledge(streamId, offset) {
      // Outside of a connection Socket.IO would keep it, and send it when it means nothing any more.
      if (state.status === 'connected') {
        state.socket.emit(EVENT.ack, { stream_id: streamId, offset });
      }
    },
    tell(event, message) {
      if (isClosed()) return;
      const errand = { event, message };
      errands.add(errand);
      connect();
      run(errand);
    },
    list(reply, changed) {
      onChanged = changed;
      ask(EVENT.list, { watch: true }, reply);
    },
    close,
    get isClosing() {
      return state.status === 'connected' && state.session.isClosing;
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

/** Socket.IO's `connect_error`: `data` is the server's, `description` an HTTP status of polling. */
type ConnectError = Error & { data?: WireError; description?: unknown };

const NO_URL: WireError = {
  code: 'bad_request',
  message: 'unable to connect: no page was loaded by HTTP; give createClient the option `url`',
  retryable: false,
};

/** @returns false if `url` is relative and there is no origin of a page to complete it. */
function hasOrigin(url: string | undefined): boolean {
  const { location } = globalThis as { location?: Location };
  const isAbsolute = url !== undefined && !url.startsWith('/');
  return isAbsolute || location?.protocol.startsWith('http') === true;
}

/** A server that is overloaded answers so; a proxy whose server is away answers with 5xx. */
function isClientError(status: unknown): boolean {
  return typeof status === 'number' && status >= 400 && status < 500;
}
