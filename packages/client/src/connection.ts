import {
  type ErrorReply,
  EVENT,
  type ShortChunk,
  type StreamListReply,
  type StreamMessage,
  type StreamQueuedMessage,
  type StreamOpenReply,
} from '@rivulet/protocol';
import { BehaviorSubject, defer, type Observable, of } from 'rxjs';
import { io, type Socket } from 'socket.io-client';
import { browserId } from './browser-id.js';
import { decode, decodeShort, type Frame } from './receive.js';
import type { ConnectionStatus } from './types.js';

type Reply = StreamOpenReply | ErrorReply;

/** A stream's end of the connection. */
export interface Link {
  readonly id: string;
  /** The connection is there: now if it is already, and each time it comes back. */
  connected(): void;
  /** The connection is gone, or could not be made. It will be tried again. */
  disconnected(): void;
  receive(frame: Frame): void;
  /** How many are before the stream in a queue; 0 when it has left that. */
  queued(ahead: number): void;
  /** The client was closed. */
  closed(): void;
}

/** One socket for all streams of a client. It connects when first needed. */
export interface Connection {
  /** Subscribing connects. */
  readonly status$: Observable<ConnectionStatus>;
  /** Has `link` told of the connection until the returned function is called. */
  join(link: Link): () => void;
  /** Starts or attaches; `reply` comes unless the connection goes first. */
  open(
    event: typeof EVENT.start | typeof EVENT.attach,
    message: object,
    link: Link,
    reply: (reply: Reply) => void,
  ): void;
  acknowledge(streamId: string, offset: number): void;
  /** `done` comes when the server has it, unless the connection goes first. */
  end(event: typeof EVENT.cancel | typeof EVENT.detach, message: object, done: () => void): void;
  /** Which streams the server has under way, unless the connection goes first. */
  list(reply: (answer: StreamListReply | ErrorReply) => void): void;
  close(): void;
}

const REPLY_TIMEOUT_MS = 10_000;
const RECONNECT_MS = { reconnectionDelay: 300, reconnectionDelayMax: 5_000 };
const NAMED = [EVENT.start, EVENT.chunk, EVENT.tool, EVENT.end, EVENT.error];

export function createConnection(
  url: string | undefined,
  auth: (() => string | Promise<string>) | undefined,
): Connection {
  const status$ = new BehaviorSubject<ConnectionStatus>('connecting');
  const links = new Map<string, Link>();
  let byRef = new Map<number, Link>();
  let socket: Socket | undefined;
  let ownId: string | undefined;

  function connect(): Socket {
    socket ??= createSocket();
    return socket;
  }

  function createSocket(): Socket {
    const options = {
      // A websocket first: it takes fewer round trips, and no sticky sessions at the server.
      transports: ['websocket', 'polling'],
      tryAllTransports: true,
      ...RECONNECT_MS,
      auth: (send: (data: object) => void) => void credentials().then(send),
    };
    const created = url === undefined ? io(options) : io(url, options);
    created.on('connect', () => {
      byRef = new Map();
      status$.next('online');
      for (const link of links.values()) link.connected();
    });
    created.on('connect_error', () => {
      lost();
      reconnect(created);
    });
    created.on('disconnect', (reason) => {
      if (reason === 'io client disconnect') return;
      lost();
      reconnect(created);
    });
    for (const event of NAMED) {
      created.on(event, (message: StreamMessage) => {
        const frame = decode(message);
        if (frame !== undefined) links.get(message.stream_id ?? '')?.receive(frame);
      });
    }
    created.on(EVENT.queued, ({ stream_id, ahead }: StreamQueuedMessage) => {
      links.get(stream_id)?.queued(ahead);
    });
    created.on(EVENT.shortChunk, (...chunk: ShortChunk) => {
      byRef.get(chunk[0])?.receive(decodeShort(chunk));
    });
    return created;
  }

  /** Without a token where it cannot be had: the server says what it makes of that. */
  async function credentials(): Promise<object> {
    ownId ??= browserId();
    try {
      const token = await auth?.();
      return { browser_id: ownId, ...(token !== undefined && { token }) };
    } catch {
      return { browser_id: ownId };
    }
  }

  function lost(): void {
    status$.next(isOffline() ? 'offline' : 'reconnecting');
    for (const link of links.values()) link.disconnected();
  }

  /** Socket.IO does not try again by itself when it was the server that ended the connection. */
  function reconnect(ended: Socket): void {
    if (!ended.active)
      setTimeout(() => socket === ended && ended.connect(), RECONNECT_MS.reconnectionDelay);
  }

  /** A reply that does not come means that the link is dead though it does not look so. */
  function ask<T>(event: string, message: object, reply: (answer: T) => void): void {
    const asked = socket;
    if (!asked?.connected) return;
    asked.timeout(REPLY_TIMEOUT_MS).emit(event, message, (error: Error | null, answer: T) => {
      if (error === null) reply(answer);
      else if (asked.connected) asked.io.engine.close();
    });
  }

  return {
    status$: defer(() => {
      // A BehaviorSubject that has completed gives its value to nobody.
      if (status$.value === 'closed') return of('closed' as const);
      connect();
      return status$;
    }),
    join(link) {
      if (status$.value === 'closed') {
        link.closed();
        return () => {};
      }
      links.set(link.id, link);
      if (connect().connected) link.connected();
      return () => {
        if (links.get(link.id) === link) links.delete(link.id);
        for (const [ref, reader] of byRef) if (reader === link) byRef.delete(ref);
      };
    },
    open(event, message, link, reply) {
      ask<Reply>(event, message, (answer) => {
        // A link that left in the meantime must not hear what is still on its way.
        const joined = links.get(link.id) === link;
        if (joined && answer.ok && answer.ref !== undefined) byRef.set(answer.ref, link);
        reply(answer);
      });
    },
    acknowledge(streamId, offset) {
      // Out of a connection it would be kept, and sent when it means nothing any more.
      if (socket?.connected) socket.emit(EVENT.ack, { stream_id: streamId, offset });
    },
    end: ask,
    list: (reply) => ask(EVENT.list, {}, reply),
    close() {
      socket?.disconnect();
      socket = undefined;
      status$.next('closed');
      status$.complete();
      for (const link of links.values()) link.closed();
      links.clear();
    },
  };
}

/** What a browser knows; Node has no navigator, or one that does not. */
function isOffline(): boolean {
  const { navigator } = globalThis as { navigator?: { onLine?: boolean } };
  return navigator?.onLine === false;
}
