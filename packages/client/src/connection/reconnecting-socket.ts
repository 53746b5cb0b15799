import { EVENT, PROTOCOL_VERSION, StreamError, type WireError } from '@rivulet/protocol';
import type { Observable } from 'rxjs';
import { byteLength } from '../byte-length.js';
import { createStateSubject } from '../state-subject.js';
import type { ClientOptions, ConnectionState } from '../types.js';
import { createBackoff } from './backoff.js';
import { toKnownError } from './log-segment.js';
import {
  absoluteUrl,
  NO_URL,
  openSocket,
  type Socket,
  type CloseReason,
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
  readonly connected: Socket | undefined;
  readonly isClosed: boolean;
  /** Connects at once, unless the server asked for a delay. */
  connect(): void;
  /** Closes the connection and opens the next one after `delayMs`. */
  reconnect(delayMs: number): void;
  /** Updates the timers; call it after the result of a getter of the owner has changed. */
  updateTimers(): void;
  /** Starts the delays again with the shortest, because the server has accepted a request. */
  resetBackoff(): void;
  /** Notes that a part of an answer has arrived, so the connection works. */
  noteData(): void;
  /** `awaitsReplies`: the socket stays open for a moment, or until `close(false)`. */
  close(awaitsReplies: boolean): void;
}

/** The owner of a socket: its getters say whether the socket is needed, and it handles the events. */
export interface SocketOwner {
  /** True while the connection is needed. */
  readonly isNeeded: boolean;
  /** True while a message is expected. */
  readonly expectsMessages: boolean;
  /** Bytes that were sent and not answered yet. */
  readonly unansweredBytes: number;
  /** @returns what the handshake carries apart from the identity of the client. */
  handshake(): object;
  onConnect(): void;
  onEvent(name: unknown, args: unknown[]): void;
  /** The connection was lost or could not be established. The socket tries again. */
  onDisconnect(): void;
  /** The server refused the connection, and a new attempt would be refused too. */
  onRefused(error: WireError): void;
}

type Timer = ReturnType<typeof setTimeout>;

interface NoSocket {
  socket?: undefined;
  watchdog?: undefined;
  timer?: undefined;
}

/** A state owns its timers and its socket: `enter()` ends them with the state. */
type SocketStatus =
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
const CLOSE_TIMEOUT_MS = 1_000;

const OFFLINE: ConnectionState = Object.freeze({ status: 'reconnecting', reason: 'offline' });

export function createReconnectingSocket(
  { url, path, auth, idleCloseMs, transports }: ClientOptions,
  browserId: () => Promise<string>,
  owner: SocketOwner,
): ReconnectingSocket {
  const connectionState = createStateSubject<ConnectionState>();
  publish({ status: 'idle' });
  let state: SocketStatus = { status: 'idle' };
  const backoff = createBackoff();
  let hasConnected = false;
  /** Tokens refused in a row. */
  let refusedTokens = 0;
  /** True if the last connection was unresponsive before any part of an answer arrived. */
  let wasUnresponsive = false;
  /** True after polling worked where a WebSocket did not, until an upgrade succeeds. */
  let needsPolling = false;
  let removeWakeListener: (() => void) | undefined;

  function publish(next: ConnectionState): void {
    connectionState.next(Object.freeze(next));
  }

  function transitionTo(next: SocketStatus): void {
    const { timer, watchdog, socket } = state;
    state = next;
    clearTimeout(timer);
    watchdog?.setEnabled(false);
    if (socket !== next.socket) socket?.close();
  }

  function connect(): void {
    removeWakeListener ??= onWake(onWakeUp);
    const waits = state.status === 'waiting' && !state.isRequired;
    if (waits || state.status === 'idle' || state.status === 'refused') attempt();
  }

  function attempt(transport: Transport = needsPolling ? 'polling' : 'websocket'): void {
    const absolute = absoluteUrl(url);
    if (absolute === undefined) {
      return transitionTo({
        status: 'waiting',
        timer: setTimeout(onRefused, 0, NO_URL),
        isRequired: true,
      });
    }
    const isFirstAttempt = state.status !== 'trying' && backoff.attempts === undefined;
    const socket = openSocket(
      { url: absolute, path, transport },
      {
        onOpen(opened) {
          if (opened === 'polling') needsPolling = true;
          extendTimeout(0);
          void sendHandshake(socket);
        },
        onUpgrade() {
          needsPolling = false;
        },
        onPacket: (units) => state.watchdog?.onPacket(units),
        onConnect: () => onConnect(socket),
        onEvent: owner.onEvent,
        onClose,
      },
    );
    const timeoutMs = transport === 'websocket' ? WEBSOCKET_TIMEOUT_MS : CONNECT_TIMEOUT_MS;
    transitionTo({
      status: 'trying',
      socket,
      transport,
      timer: setTimeout(onClose, timeoutMs, {}),
    });
    if (isFirstAttempt) publish({ status: 'connecting' });
  }

  /** Allows an attempt the usual time, and a millisecond for each byte that it sends. */
  function extendTimeout(bytes: number): void {
    if (state.status !== 'trying') return;
    clearTimeout(state.timer);
    state.timer = setTimeout(onClose, CONNECT_TIMEOUT_MS + bytes, {});
  }

  /** Sends the identity of the client and the owner's part. */
  async function sendHandshake(socket: Socket): Promise<void> {
    let id: string;
    let token: string | null | undefined;
    try {
      id = await browserId();
      token = await auth?.({ refused: refusedTokens > 0 });
    } catch {
      // The app cannot get them now, for example without a network.
      if (!socket.isClosed) onFailure(undefined, true);
      return;
    }
    if (socket.isClosed) return;
    const payload = {
      protocol: PROTOCOL_VERSION.newest,
      browser_id: id,
      ...(token && { token }),
      ...owner.handshake(),
    };
    extendTimeout(byteLength(JSON.stringify(payload)));
    socket.handshake(payload);
  }

  function onConnect(socket: Socket): void {
    if (state.status !== 'trying') return;
    const watchdog = createWatchdog({
      sendProbe: () => socket.emit(EVENT.list, {}, () => {}),
      onDead() {
        wasUnresponsive = true;
        onClose({});
      },
      unansweredBytes: () => owner.unansweredBytes,
      isFirstFailure: !wasUnresponsive,
    });
    transitionTo({ status: 'connected', socket, since: Date.now(), watchdog, timer: undefined });
    hasConnected = true;
    refusedTokens = 0;
    backoff.endOutage();
    publish({ status: 'connected' });
    owner.onConnect();
    updateTimers();
  }

  /** The connection broke, or the attempt failed. */
  function onClose({ refusal, isNamespaceUnknown, isClientError = false }: CloseReason): void {
    if (state.status === 'closing') return transitionTo({ status: 'closed' });
    // A server that restarts may create its namespace a moment after it listens.
    if (isNamespaceUnknown && !hasConnected) return onRefused(UNKNOWN_NAMESPACE);
    const isAnswered = refusal !== undefined || isNamespaceUnknown === true || isClientError;
    const hasTriedWebSocket = state.status === 'trying' && state.transport === 'websocket';
    if (hasTriedWebSocket && !isAnswered && transports?.length !== 1) {
      return attempt('polling');
    }
    onFailure(refusal, isAnswered);
  }

  /** @param isAnswered true if trying again at once is of no use, though the line is there. */
  function onFailure(refusal: WireError | undefined, isAnswered: boolean): void {
    if (refusal?.code === 'unauthorized') {
      refusedTokens += 1;
      if (auth === undefined || refusedTokens > 1) return onRefused(toKnownError(refusal));
    } else if (refusal?.retryable === false) {
      return onRefused(toKnownError(refusal));
    }
    const delayMs = backoff.nextDelayMs(
      state.status === 'connected' ? state.since : undefined,
      isAnswered,
    );
    const requiredMs = refusal?.retry_after_ms ?? 0;
    retryIn(Math.max(delayMs, requiredMs), requiredMs > 0);
  }

  function retryIn(delayMs: number, isRequired: boolean): void {
    if (idleCloseMs !== undefined && !owner.isNeeded) return becomeIdle();
    transitionTo({ status: 'waiting', timer: setTimeout(attempt, delayMs), isRequired });
    // Node.js and React Native have no `navigator.onLine`.
    const { navigator } = globalThis as { navigator?: { onLine?: boolean } };
    if (navigator?.onLine === false) connectionState.next(OFFLINE);
    else {
      const { attempts = 0 } = backoff;
      const server = url ?? location.origin;
      publish({ status: 'reconnecting', reason: 'unreachable', url: server, attempts });
    }
    owner.onDisconnect();
  }

  /** Stops trying, because a new attempt would be refused too. */
  function onRefused(error: WireError): void {
    transitionTo({ status: 'refused' });
    refusedTokens = 0;
    backoff.endOutage();
    const { code, message, retryable, retry_after_ms: retryAfterMs } = error;
    const reason = new StreamError(code, message, { retryable, retryAfterMs });
    publish({ status: 'refused', error: reason });
    owner.onRefused(error);
  }

  function becomeIdle(): void {
    transitionTo({ status: 'idle' });
    backoff.endOutage();
    publish({ status: 'idle' });
  }

  /** The page may have been suspended, or the network is back. */
  function onWakeUp(isOnline: boolean): void {
    if (state.status === 'connected') state.watchdog.probeNow();
    else if (state.status === 'waiting') connect();
    // The packets of an attempt that began without a network are lost.
    else if (state.status === 'trying' && isOnline) attempt();
  }

  function updateTimers(): void {
    if (state.status !== 'connected') return;
    state.watchdog.setEnabled(owner.expectsMessages);
    clearTimeout(state.timer);
    if (idleCloseMs === undefined || owner.isNeeded) return;
    state.timer = setTimeout(becomeIdle, idleCloseMs);
  }

  function isClosed(): boolean {
    return state.status === 'closing' || state.status === 'closed';
  }

  return {
    state$: connectionState.value$,
    get connected() {
      return state.status === 'connected' ? state.socket : undefined;
    },
    get isClosed() {
      return isClosed();
    },
    connect,
    reconnect: (delayMs) => retryIn(delayMs, false),
    updateTimers,
    resetBackoff: backoff.reset,
    noteData() {
      wasUnresponsive = false;
    },
    close(awaitsReplies) {
      const isFirstCall = !isClosed();
      // Socket.IO drops a message that comes in one turn with the end of its connection.
      if (awaitsReplies && state.status === 'connected') {
        const timer = setTimeout(() => transitionTo({ status: 'closed' }), CLOSE_TIMEOUT_MS);
        transitionTo({ status: 'closing', socket: state.socket, timer });
      } else transitionTo({ status: 'closed' });
      if (!isFirstCall) return;
      removeWakeListener?.();
      publish({ status: 'closed' });
      connectionState.complete();
    },
  };
}
