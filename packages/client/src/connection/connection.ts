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
import type { ConnectionOptions } from './connections.js';
import { decode, type Frame } from './frame.js';
import type { Connection, Link, OpenRequest, ServerMessage } from './link.js';
import { createReconnectingSocket } from './reconnecting-socket.js';

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

/** What holds for one socket. */
interface Session {
  /** True if the server is shutting down: new questions are for another one. */
  isClosing: boolean;
  /** The size of the requests that were sent and not answered yet; 0 if there are none. */
  unansweredBytes: number;
  /** The streams that were opened. */
  readonly opened: Set<Link>;
  /** Those that the handshake opened, until the server has replied; it does so in this order. */
  readonly carried: Link[];
  /** The names of streams in short chunks. */
  readonly refs: Map<number, Link>;
}

/** The load balancer removes the closing server by then; connecting earlier could reach it again. */
const MOVE_ON_MS = 500;
/**
 * The size of the requests in a handshake. Further ones follow after it: the server waits 10 s for a
 * handshake, in which a line of 1 KB/s carries little more.
 */
const CARRIED_UNITS = 8_192;
const NEW_STREAMS = { new_streams: true };

export function createConnection(
  options: ConnectionOptions,
  { browserId, forNewStreams, refusedNew }: ServerConnectionOptions,
): ServerConnection {
  const links = new Map<string, Link>();
  const messages = new Set<ServerMessage>();
  let session = newSession();
  let holders = 0;
  /** True after a server began to shut down, until another one accepts the connection. */
  let avoidsClosing = forNewStreams;
  /** The streams that were read here when this connection was retired. */
  let retired: Set<string> | undefined;
  let onChanged: ((stream: StreamSummary) => void) | undefined;

  const socket = createReconnectingSocket(options, browserId, {
    get isNeeded() {
      return links.size > 0 || messages.size > 0 || holders > 0;
    },
    get isExpecting() {
      return links.size > 0 || session.unansweredBytes > 0;
    },
    get unansweredBytes() {
      return session.unansweredBytes;
    },
    handshake() {
      session = newSession();
      const requests = carry();
      return {
        ...(avoidsClosing && requests.every(({ type }) => type === EVENT.start) && NEW_STREAMS),
        ...(requests.length > 0 && { requests }),
      };
    },
    connected() {
      avoidsClosing = false;
      for (const pending of messages) deliver(pending);
      for (const link of links.values()) if (!session.opened.has(link)) read(link);
    },
    event,
    disconnected() {
      for (const link of links.values()) link.disconnected();
    },
    refused(error) {
      for (const link of links.values()) link.refused(error);
    },
  });

  /** @returns the requests that the handshake carries. */
  function carry(): OpenRequest[] {
    const requests: OpenRequest[] = [];
    let units = 0;
    for (const link of links.values()) {
      if (requests.length === REQUEST_LIMITS.handshakeRequests) break;
      const request = link.request();
      units += JSON.stringify(request).length;
      if (units > CARRIED_UNITS) break;
      requests.push(request);
      session.carried.push(link);
      session.opened.add(link);
    }
    return requests;
  }

  function event(name: unknown, args: unknown[]): void {
    const [message] = args;
    switch (name) {
      case EVENT.shortChunk: {
        const [ref, offset, text] = args as ShortChunk;
        const frame: Frame = { offset, size: text.length, entry: { type: 'text', text } };
        return receive(session.refs.get(ref), frame);
      }
      case EVENT.queued: {
        const { stream_id, ahead } = message as StreamQueuedMessage;
        return links.get(stream_id)?.queued(ahead);
      }
      case EVENT.loading: {
        const { stream_id, provider, model } = message as StreamLoadingMessage;
        return links.get(stream_id)?.loading({ provider, model });
      }
      case EVENT.reply: {
        const link = session.carried.shift();
        if (link !== undefined) replied(link, (message as StreamReplyMessage).reply);
        return;
      }
      case EVENT.changed:
        return onChanged?.((message as StreamChangedMessage).stream);
      case EVENT.closing:
        session.isClosing = true;
        return moveOn();
      case EVENT.start:
      case EVENT.chunk:
      case EVENT.thought:
      case EVENT.tool:
      case EVENT.end:
      case EVENT.error: {
        const frame = decode(message as LogMessage);
        const { stream_id = '' } = message as LogMessage;
        if (frame !== undefined) receive(links.get(stream_id), frame);
      }
    }
  }

  function receive(link: Link | undefined, frame: Frame): void {
    socket.received();
    link?.receive(frame);
  }

  /** The watchdog notices when no reply comes. */
  function ask(request: string, message: object, reply: (answer: never) => void): void {
    const { current } = socket;
    if (current === undefined) return;
    const bytes = byteLength(JSON.stringify(message));
    session.unansweredBytes += bytes;
    socket.needsChanged();
    current.emit(request, message, (answer: never) => {
      session.unansweredBytes -= bytes;
      socket.needsChanged();
      reply(answer);
    });
  }

  function read(link: Link): void {
    if (socket.current === undefined) return;
    session.opened.add(link);
    const request = link.request();
    ask(request.type, request, (reply: Reply) => replied(link, reply));
  }

  function replied(link: Link, reply: Reply): void {
    // A link that left in the meantime does not hear replies that are still on their way.
    if (socket.current === undefined || links.get(link.id) !== link) return;
    if (session.isClosing && !reply.ok && reply.error.code === 'overloaded') {
      // The question crossed the notice.
      forget(link);
      if (session.opened.size === 0 && retired === undefined) return moveOn();
      links.delete(link.id);
      refusedNew(link);
      return moveOn();
    }
    if (reply.ok) socket.accepted();
    if (reply.ok && reply.ref !== undefined) session.refs.set(reply.ref, link);
    link.replied(reply);
  }

  function deliver(pending: ServerMessage): void {
    ask(pending.event, pending.message, (reply: DoneReply | ErrorReply) => {
      messages.delete(pending);
      pending.replied?.(reply);
      socket.needsChanged();
      moveOn();
      if (socket.isClosed && messages.size === 0) socket.close(false);
    });
  }

  /** Leaves a closing server for the next one, once nothing is read here any more. */
  function moveOn(): void {
    if (retired !== undefined && links.size === 0 && messages.size === 0) return close();
    if (!isClosing() || session.opened.size > 0 || messages.size > 0) return;
    avoidsClosing = true;
    socket.reconnect(links.size === 0 ? MOVE_ON_MS * (1 + Math.random()) : 0);
  }

  function isClosing(): boolean {
    return socket.current !== undefined && session.isClosing;
  }

  function forget(link: Link): void {
    session.opened.delete(link);
    for (const [ref, reader] of session.refs) if (reader === link) session.refs.delete(ref);
  }

  function leave(link: Link): void {
    if (links.get(link.id) === link) links.delete(link.id);
    forget(link);
    socket.needsChanged();
    // A cancel or detach may follow, and is for this server.
    queueMicrotask(moveOn);
  }

  function close(): void {
    if (socket.isClosed) return;
    retired?.clear();
    socket.close(messages.size > 0);
    for (const link of links.values()) link.closed();
    links.clear();
  }

  return {
    state$: socket.state$,
    hold() {
      holders += 1;
      if (!socket.isClosed) socket.connect();
      socket.needsChanged();
      return () => {
        holders -= 1;
        socket.needsChanged();
      };
    },
    join(link) {
      if (socket.isClosed) {
        link.closed();
        return () => {};
      }
      // A reader that is back need not say any more that it left.
      for (const pending of messages) {
        const isDetach = pending.event === EVENT.detach;
        if (isDetach && pending.message.stream_id === link.id) messages.delete(pending);
      }
      links.set(link.id, link);
      socket.connect();
      read(link);
      socket.needsChanged();
      return () => leave(link);
    },
    reopen: read,
    acknowledge(streamId, offset) {
      socket.current?.emit(EVENT.ack, { stream_id: streamId, offset });
    },
    tell(request, message, onReply) {
      if (socket.isClosed) return;
      const pending = { event: request, message, replied: onReply };
      messages.add(pending);
      socket.connect();
      deliver(pending);
    },
    list(reply, changed) {
      onChanged = changed;
      ask(EVENT.list, { watch: true }, reply);
    },
    close,
    get isClosing() {
      return isClosing();
    },
    get isClosed() {
      return socket.isClosed;
    },
    has: (streamId) => retired?.has(streamId) === true,
    retire() {
      retired = new Set(links.keys());
      moveOn();
    },
  };
}

function newSession(): Session {
  return {
    isClosing: false,
    unansweredBytes: 0,
    opened: new Set(),
    carried: [],
    refs: new Map(),
  };
}
