import { EVENT, PROTOCOL_VERSION, StreamError, type WireError } from '@rivulet/protocol';
import type { Observable } from 'rxjs';
import { byteLength } from '../byte-length.js';
import { createLatest } from '../latest.js';
import type { ClientOptions, ConnectionState } from '../types.js';
import { createBackoff } from './backoff.js';
import { knownError } from './frame.js';
import {
  absoluteUrl,
  NO_URL,
  openSocket,
  type Socket,
  type SocketFailure,
  type Transport,
  UNKNOWN_NAMESPACE,
} from './socket.js';
import { onWake } from './wake.js';
import { createWatchdog, type Watchdog } from './watchdog.js';

/** A socket that is opened when it is first needed, and again after it was lost. */
export interface ReconnectingSocket {
  /** The state now, then each change; completes with `close()`. */
  readonly state$: Observable<ConnectionState>;
  /** The socket while it is connected. */
  readonly current: Socket | undefined;
  readonly isClosed: boolean;
  /** Connects at once, unless the server asked for a delay. */
  connect(): void;
  /** Closes the connection and opens the next one after `delayMs`. */
  reconnect(delayMs: number): void;
  /** To be called when the result of one of the owner's getters has changed. */
  needsChanged(): void;
  /** The server has accepted a request: the delays begin again with the shortest. */
  accepted(): void;
  /** The server has sent a part of an answer: the connection is not dead. */
  received(): void;
  /** `awaitsReplies`: the socket stays open for a moment, or until `close(false)`. */
  close(awaitsReplies: boolean): void;
}

/** The owner of a socket says what it is needed for, and uses it while it is connected. */
export interface SocketOwner {
  /** True while somebody needs the connection. */
  readonly isNeeded: boolean;
  /** True while a message is expected. */
  readonly isExpecting: boolean;
  /** Bytes that were sent and not answered yet. */
  readonly unansweredBytes: number;
  /** @returns what the handshake carries apart from the identity of the client. */
  handshake(): object;
  connected(): void;
  event(name: unknown, args: unknown[]): void;
  /** The connection is gone, or could not be made. It will be tried again. */
  disconnected(): void;
  /** The server does not let this client in, and trying again is of no use. */
  refused(error: WireError): void;
}

type Timer = ReturnType<typeof setTimeout>;

interface NoSocket {
  socket?: undefined;
  watchdog?: undefined;
  timer?: undefined;
}

/** A state owns its timers and its socket: `enter()` ends them with the state. */
type State =
  | (NoSocket & { status: 'idle' })
  | {
      status: 'trying';
      socket: Socket;
      transport: Transport;
      /** Ends an attempt that the server does not answer. */
      timer: Timer;
      watchdog?: undefined;
    }
  | {
      status: 'connected';
      socket: Socket;
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
  /** The client is closed, and the server has not confirmed all messages. */
  | { status: 'closing'; socket: Socket; timer: Timer; watchdog?: undefined }
  | (NoSocket & { status: 'closed' });

/** A WebSocket that is not open by then may never be: some proxies do not answer upgrades. */
const WEBSOCKET_TIMEOUT_MS = 4_000;
const CONNECT_TIMEOUT_MS = 15_000;
/** The time that the server has to confirm the last messages when the client is closed. */
const CLOSE_MS = 1_000;

const OFFLINE: ConnectionState = Object.freeze({ status: 'reconnecting', reason: 'offline' });

export function createReconnectingSocket(
  { url, path, auth, idleCloseMs, transports }: ClientOptions,
  browserId: () => Promise<string>,
  owner: SocketOwner,
): ReconnectingSocket {
  const latest = createLatest<ConnectionState>();
  show({ status: 'idle' });
  let state: State = { status: 'idle' };
  const backoff = createBackoff();
  let hasConnected = false;
  /** Tokens refused in a row. */
  let refusals = 0;
  /** True if the last connection was dead before any part of an answer came. */
  let wasDead = false;
  /** True after polling worked where a WebSocket did not, until an upgrade succeeds. */
  let needsPolling = false;
  let stopListening: (() => void) | undefined;

  function show(next: ConnectionState): void {
    latest.next(Object.freeze(next));
  }

  function enter(next: State): void {
    const { timer, watchdog, socket } = state;
    state = next;
    clearTimeout(timer);
    watchdog?.watch(false);
    if (socket !== next.socket) socket?.close();
  }

  function connect(): void {
    stopListening ??= onWake(awake);
    const waits = state.status === 'waiting' && !state.isRequired;
    if (waits || state.status === 'idle' || state.status === 'refused') attempt();
  }

  function attempt(transport: Transport = needsPolling ? 'polling' : 'websocket'): void {
    const absolute = absoluteUrl(url);
    if (absolute === undefined) {
      return enter({ status: 'waiting', timer: setTimeout(refused, 0, NO_URL), isRequired: true });
    }
    const isNews = state.status !== 'trying' && backoff.attempts === undefined;
    const socket = openSocket(
      { url: absolute, path, transport },
      {
        opened(opened) {
          if (opened === 'polling') needsPolling = true;
          allowTime(0);
          void handshake(socket);
        },
        upgraded() {
          needsPolling = false;
        },
        heard: (units) => state.watchdog?.heard(units),
        connected: () => connected(socket),
        event: owner.event,
        lost,
      },
    );
    const timeoutMs = transport === 'websocket' ? WEBSOCKET_TIMEOUT_MS : CONNECT_TIMEOUT_MS;
    enter({ status: 'trying', socket, transport, timer: setTimeout(lost, timeoutMs, {}) });
    if (isNews) show({ status: 'connecting' });
  }

  /** Allows an attempt the usual time, and a millisecond for each byte that it sends. */
  function allowTime(bytes: number): void {
    if (state.status !== 'trying') return;
    clearTimeout(state.timer);
    state.timer = setTimeout(lost, CONNECT_TIMEOUT_MS + bytes, {});
  }

  /** Sends the identity of the client and the owner's part. */
  async function handshake(socket: Socket): Promise<void> {
    let ownId: string;
    let token: string | undefined;
    try {
      ownId = await browserId();
      token = await auth?.({ refused: refusals > 0 });
    } catch {
      // The app cannot get them now, for example without a network.
      if (!socket.isClosed) failed(undefined, true);
      return;
    }
    if (socket.isClosed) return;
    const payload = {
      protocol: PROTOCOL_VERSION.newest,
      browser_id: ownId,
      ...(token !== undefined && { token }),
      ...owner.handshake(),
    };
    allowTime(byteLength(JSON.stringify(payload)));
    socket.handshake(payload);
  }

  function connected(socket: Socket): void {
    if (state.status !== 'trying') return;
    const watchdog = createWatchdog({
      probe: () => socket.emit(EVENT.list, {}, () => {}),
      dead() {
        wasDead = true;
        lost({});
      },
      unansweredBytes: () => owner.unansweredBytes,
      isFirst: !wasDead,
    });
    enter({ status: 'connected', socket, since: Date.now(), watchdog, timer: undefined });
    hasConnected = true;
    refusals = 0;
    backoff.endOutage();
    show({ status: 'connected' });
    owner.connected();
    needsChanged();
  }

  /** The connection broke, or the attempt failed. */
  function lost({ refusal, isNamespaceUnknown, isClientError = false }: SocketFailure): void {
    if (state.status === 'closing') return enter({ status: 'closed' });
    // A server that restarts may create its namespace a moment after it listens.
    if (isNamespaceUnknown && !hasConnected) return refused(UNKNOWN_NAMESPACE);
    const isAnswered = refusal !== undefined || isNamespaceUnknown === true || isClientError;
    const hasTriedWebSocket = state.status === 'trying' && state.transport === 'websocket';
    if (hasTriedWebSocket && !isAnswered && transports?.length !== 1) {
      return attempt('polling');
    }
    failed(refusal, isAnswered);
  }

  /** @param isAnswered true if trying again at once is of no use, though the line is there. */
  function failed(refusal: WireError | undefined, isAnswered: boolean): void {
    if (refusal?.code === 'unauthorized') {
      refusals += 1;
      if (auth === undefined || refusals > 1) return refused(knownError(refusal));
    } else if (refusal?.retryable === false) {
      return refused(knownError(refusal));
    }
    const delayMs = backoff.failed(
      state.status === 'connected' ? state.since : undefined,
      isAnswered,
    );
    const requiredMs = refusal?.retry_after_ms ?? 0;
    retryIn(Math.max(delayMs, requiredMs), requiredMs > 0);
  }

  function retryIn(delayMs: number, isRequired: boolean): void {
    if (idleCloseMs !== undefined && !owner.isNeeded) return becomeIdle();
    enter({ status: 'waiting', timer: setTimeout(attempt, delayMs), isRequired });
    // Node.js and React Native have no `navigator.onLine`.
    const { navigator } = globalThis as { navigator?: { onLine?: boolean } };
    if (navigator?.onLine === false) latest.next(OFFLINE);
    else {
      const { attempts = 0 } = backoff;
      const server = url ?? location.origin;
      show({ status: 'reconnecting', reason: 'unreachable', url: server, attempts });
    }
    owner.disconnected();
  }

  /** A further attempt would be refused, too. */
  function refused(error: WireError): void {
    enter({ status: 'refused' });
    refusals = 0;
    backoff.endOutage();
    const { code, message, retryable, retry_after_ms: retryAfterMs } = error;
    const reason = new StreamError(code, message, { retryable, retryAfterMs });
    show({ status: 'refused', error: reason });
    owner.refused(error);
  }

  function becomeIdle(): void {
    enter({ status: 'idle' });
    backoff.endOutage();
    show({ status: 'idle' });
  }

  /** The page may have been suspended, or the network is back. */
  function awake(isOnline: boolean): void {
    if (state.status === 'connected') state.watchdog.check();
    else if (state.status === 'waiting') connect();
    // The packets of an attempt that began without a network are lost.
    else if (state.status === 'trying' && isOnline) attempt();
  }

  function needsChanged(): void {
    if (state.status !== 'connected') return;
    state.watchdog.watch(owner.isExpecting);
    clearTimeout(state.timer);
    if (idleCloseMs === undefined || owner.isNeeded) return;
    state.timer = setTimeout(becomeIdle, idleCloseMs);
  }

  function isClosed(): boolean {
    return state.status === 'closing' || state.status === 'closed';
  }

  return {
    state$: latest.value$,
    get current() {
      return state.status === 'connected' ? state.socket : undefined;
    },
    get isClosed() {
      return isClosed();
    },
    connect,
    reconnect: (delayMs) => retryIn(delayMs, false),
    needsChanged,
    accepted: backoff.accepted,
    received() {
      wasDead = false;
    },
    close(awaitsReplies) {
      const isNews = !isClosed();
      // Socket.IO drops a message that comes in one turn with the end of its connection.
      if (awaitsReplies && state.status === 'connected') {
        const timer = setTimeout(() => enter({ status: 'closed' }), CLOSE_MS);
        enter({ status: 'closing', socket: state.socket, timer });
      } else enter({ status: 'closed' });
      if (!isNews) return;
      stopListening?.();
      show({ status: 'closed' });
      latest.complete();
    },
  };
}
