import {
  type DoneReply,
  type ErrorReply,
  EVENT,
  REQUEST_LIMITS,
  type LogMessage,
  type ShortChunk,
  type StreamChangedMessage,
  type StreamLoadingMessage,
  type StreamQueuedMessage,
  type StreamReply,
  type StreamReplyMessage,
  type StreamSummary,
} from '@rivulet/protocol';
import { byteLength } from '../byte-length.js';
import type { ConnectionOptions } from './client-connection.js';
import { decodeMessage, type LogSegment } from './log-segment.js';
import type { Connection, StreamHandler, OpenRequest, ReliableMessage } from './connection.js';
import { createReconnectingSocket } from './reconnecting-socket.js';

/** The connection to one server at a time. */
export interface ServerConnection extends Connection {
  /** True while the server is shutting down and streams are still read here. */
  readonly isServerClosing: boolean;
  readonly isClosed: boolean;
  /** @returns true if the stream was read here when `retire()` was called. */
  reads(streamId: string): boolean;
  /** Closes the connection after its last stream; new questions go to another connection. */
  drain(): void;
}

export interface ServerConnectionOptions {
  /** The same for all connections of a client. */
  browserId(): Promise<string>;
  /** True if a server that is shutting down is to refuse the connection. */
  forNewStreams: boolean;
  /** A closing server refused a question; another connection sends it. */
  onRefusedStart(handler: StreamHandler): void;
}

type Reply = StreamReply | ErrorReply;

/** The load balancer removes the closing server by then; connecting earlier could reach it again. */
const LEAVE_SERVER_MS = 500;
/**
 * The size of the requests in a handshake. Further ones follow after it: the server waits 10 s for a
 * handshake, in which a line of 1 KB/s carries little more.
 */
const MAX_HANDSHAKE_UNITS = 8_192;
const NEW_STREAMS = { new_streams: true };

export function createServerConnection(
  options: ConnectionOptions,
  { browserId, forNewStreams, onRefusedStart }: ServerConnectionOptions,
): ServerConnection {
  const handlers = new Map<string, StreamHandler>();
  const unconfirmed = new Set<ReliableMessage>();
  /** True if the server of the current socket is shutting down: new questions go to another server. */
  let isServerClosing = false;
  /** Bytes of the requests that were sent on the current socket and not answered yet. */
  let unansweredBytes = 0;
  /** The handlers whose streams were opened on the current socket. */
  let opened = new Set<StreamHandler>();
  /** The handlers whose requests are in the handshake, until the server has replied, in the order of the replies. */
  let inHandshake: StreamHandler[] = [];
  /** The handlers by the short name of their stream. */
  let byRef = new Map<number, StreamHandler>();
  let keepOpenCount = 0;
  /** True after a server began to shut down, until another one accepts the connection. */
  let avoidsClosingServers = forNewStreams;
  /** The streams that were read here when this connection was retired. */
  let draining: Set<string> | undefined;
  let onStreamChange: ((stream: StreamSummary) => void) | undefined;

  const socket = createReconnectingSocket(options, browserId, {
    get isNeeded() {
      return handlers.size > 0 || unconfirmed.size > 0 || keepOpenCount > 0;
    },
    get expectsMessages() {
      return handlers.size > 0 || unansweredBytes > 0;
    },
    get unansweredBytes() {
      return unansweredBytes;
    },
    handshake() {
      isServerClosing = false;
      unansweredBytes = 0;
      opened = new Set();
      inHandshake = [];
      byRef = new Map();
      const requests = handshakeRequests();
      return {
        ...(avoidsClosingServers &&
          requests.every(({ type }) => type === EVENT.start) &&
          NEW_STREAMS),
        ...(requests.length > 0 && { requests }),
      };
    },
    onConnect() {
      avoidsClosingServers = false;
      for (const pending of unconfirmed) sendMessage(pending);
      for (const handler of handlers.values()) if (!opened.has(handler)) sendOpenRequest(handler);
    },
    onEvent,
    onDisconnect() {
      for (const handler of handlers.values()) handler.onDisconnect();
    },
    onRefused(error) {
      for (const handler of handlers.values()) handler.onRefused(error);
    },
  });

  /** @returns the requests that the handshake carries. */
  function handshakeRequests(): OpenRequest[] {
    const requests: OpenRequest[] = [];
    let units = 0;
    for (const handler of handlers.values()) {
      if (requests.length === REQUEST_LIMITS.handshakeRequests) break;
      const request = handler.request();
      units += JSON.stringify(request).length;
      if (units > MAX_HANDSHAKE_UNITS) break;
      requests.push(request);
      inHandshake.push(handler);
      opened.add(handler);
    }
    return requests;
  }

  function onEvent(name: unknown, args: unknown[]): void {
    const [message] = args;
    switch (name) {
      case EVENT.shortChunk: {
        const [ref, offset, text] = args as ShortChunk;
        const frame: LogSegment = { offset, size: text.length, entry: { type: 'text', text } };
        return deliver(byRef.get(ref), frame);
      }
      case EVENT.queued: {
        const { stream_id, ahead } = message as StreamQueuedMessage;
        return handlers.get(stream_id)?.onQueued(ahead);
      }
      case EVENT.loading: {
        const { stream_id, provider, model } = message as StreamLoadingMessage;
        return handlers.get(stream_id)?.onLoading({ provider, model });
      }
      case EVENT.reply: {
        const handler = inHandshake.shift();
        if (handler !== undefined) onReply(handler, (message as StreamReplyMessage).reply);
        return;
      }
      case EVENT.changed:
        return onStreamChange?.((message as StreamChangedMessage).stream);
      case EVENT.closing:
        isServerClosing = true;
        return leaveIfUnused();
      case EVENT.start:
      case EVENT.chunk:
      case EVENT.thought:
      case EVENT.tool:
      case EVENT.end:
      case EVENT.error: {
        const frame = decodeMessage(message as LogMessage);
        const { stream_id = '' } = message as LogMessage;
        if (frame !== undefined) deliver(handlers.get(stream_id), frame);
      }
    }
  }

  function deliver(handler: StreamHandler | undefined, frame: LogSegment): void {
    socket.noteData();
    handler?.onSegment(frame);
  }

  /** The watchdog notices when no reply comes. */
  function sendRequest(request: string, message: object, reply: (answer: never) => void): void {
    const { connected } = socket;
    if (connected === undefined) return;
    const bytes = byteLength(JSON.stringify(message));
    unansweredBytes += bytes;
    socket.updateTimers();
    connected.emit(request, message, (answer: never) => {
      unansweredBytes -= bytes;
      socket.updateTimers();
      reply(answer);
    });
  }

  function sendOpenRequest(handler: StreamHandler): void {
    if (socket.connected === undefined) return;
    opened.add(handler);
    const request = handler.request();
    sendRequest(request.type, request, (reply: Reply) => onReply(handler, reply));
  }

  function onReply(handler: StreamHandler, reply: Reply): void {
    // A handler that left in the meantime does not hear replies that are still on their way.
    if (socket.connected === undefined || handlers.get(handler.id) !== handler) return;
    if (isServerClosing && handler.isUnaccepted && !reply.ok && reply.error.code === 'overloaded') {
      // The question was sent before the notice of the server arrived.
      forgetHandler(handler);
      if (opened.size === 0 && draining === undefined) return leaveIfUnused();
      handlers.delete(handler.id);
      draining?.delete(handler.id);
      onRefusedStart(handler);
      return leaveIfUnused();
    }
    if (reply.ok) socket.resetBackoff();
    if (reply.ok && reply.ref !== undefined) byRef.set(reply.ref, handler);
    handler.onReply(reply);
  }

  function sendMessage(pending: ReliableMessage): void {
    // A value that each connection replaces.
    const openedThen = opened;
    sendRequest(pending.event, pending.message, (reply: DoneReply | ErrorReply) => {
      // The caller of a message with `onReply` sends it again, if anyone does.
      if (!pending.onReply && !reply.ok && reply.error.retry_after_ms)
        // A new connection sends it by itself.
        return void setTimeout(
          () => opened === openedThen && unconfirmed.has(pending) && sendMessage(pending),
          reply.error.retry_after_ms,
        );
      unconfirmed.delete(pending);
      pending.onReply?.(reply);
      socket.updateTimers();
      leaveIfUnused();
      if (socket.isClosed && unconfirmed.size === 0) socket.close(false);
    });
  }

  /** Leaves a closing server after the last stream: closes a draining connection, reconnects any other. */
  function leaveIfUnused(): void {
    if (draining !== undefined && handlers.size === 0 && unconfirmed.size === 0) return close();
    if (!isOnClosingServer() || opened.size > 0 || unconfirmed.size > 0) return;
    avoidsClosingServers = true;
    socket.reconnect(handlers.size === 0 ? LEAVE_SERVER_MS * (1 + Math.random()) : 0);
  }

  function isOnClosingServer(): boolean {
    return socket.connected !== undefined && isServerClosing;
  }

  function forgetHandler(handler: StreamHandler): void {
    opened.delete(handler);
    for (const [ref, reader] of byRef) if (reader === handler) byRef.delete(ref);
  }

  function removeHandler(handler: StreamHandler): void {
    if (handlers.get(handler.id) === handler) handlers.delete(handler.id);
    forgetHandler(handler);
    socket.updateTimers();
    // A cancel or detach message to this server may follow synchronously.
    queueMicrotask(leaveIfUnused);
  }

  function close(): void {
    if (socket.isClosed) return;
    draining?.clear();
    socket.close(unconfirmed.size > 0);
    for (const handler of handlers.values()) handler.onClosed();
    handlers.clear();
  }

  return {
    state$: socket.state$,
    keepOpen() {
      keepOpenCount += 1;
      if (!socket.isClosed) socket.connect();
      socket.updateTimers();
      return () => {
        keepOpenCount -= 1;
        socket.updateTimers();
      };
    },
    addHandler(handler) {
      if (socket.isClosed) {
        handler.onClosed();
        return () => {};
      }
      // A resumed stream makes a pending detach message obsolete.
      for (const pending of unconfirmed) {
        const isDetach = pending.event === EVENT.detach;
        if (isDetach && pending.message.stream_id === handler.id) unconfirmed.delete(pending);
      }
      handlers.set(handler.id, handler);
      socket.connect();
      sendOpenRequest(handler);
      socket.updateTimers();
      return () => removeHandler(handler);
    },
    reopen: sendOpenRequest,
    acknowledge(streamId, offset) {
      socket.connected?.emit(EVENT.ack, { stream_id: streamId, offset });
    },
    sendReliably(event, message, whenReplied) {
      if (socket.isClosed) return;
      const pending = { event, message, onReply: whenReplied };
      unconfirmed.add(pending);
      socket.connect();
      sendMessage(pending);
    },
    listStreams(reply, changed) {
      onStreamChange = changed;
      sendRequest(EVENT.list, { watch: true }, reply);
    },
    close,
    get isServerClosing() {
      return isOnClosingServer();
    },
    get isClosed() {
      return socket.isClosed;
    },
    reads: (streamId) => draining?.has(streamId) === true,
    drain() {
      draining = new Set(handlers.keys());
      leaveIfUnused();
    },
  };
}
