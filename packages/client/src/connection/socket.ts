import type { WireError } from '@rivulet/protocol';
import { Socket as Engine, parse } from 'engine.io-client';
import { Decoder, Encoder, type Packet, PacketType } from 'socket.io-parser';

export type Transport = 'websocket' | 'polling';

export interface SocketOptions {
  /** From `absoluteUrl`; its path is the namespace. */
  url: string;
  path: string | undefined;
  /** The transport of the handshake. A connection that begins with polling is upgraded where it can be. */
  transport: Transport;
}

/** The known cause of a closed socket. */
export interface CloseReason {
  /** The server refused the handshake. */
  refusal?: WireError | undefined;
  /** True if the server has no namespace with the path of `url`. */
  isNamespaceUnknown?: boolean;
  /** Polling received an HTTP status of 4xx: a proxy whose server is away answers with 5xx. */
  isClientError?: boolean;
}

/** None of these is called after `close()`. */
export interface SocketListener {
  /** The transport is open, and `handshake()` is to follow. */
  onOpen(transport: string): void;
  onUpgrade(): void;
  /** A packet of `units` UTF-16 units has arrived, whatever it is. */
  onPacket(units: number): void;
  /** The server has accepted the handshake. */
  onConnect(): void;
  onEvent(name: unknown, args: unknown[]): void;
  /** The socket is closed or could not be opened; called once. */
  onClose(failure: CloseReason): void;
}

export interface Socket {
  /** Sends the payload of the handshake. */
  handshake(payload: object): void;
  /** `reply` receives the server's acknowledgement. It is not called if the socket closes first. */
  emit(event: string, message: object, reply?: (answer: never) => void): void;
  readonly isClosed: boolean;
  close(): void;
}

/**
 * Opens one connection to a Socket.IO server, without the parts of `socket.io-client` that this client does
 * not use or does itself: reconnecting, several namespaces, buffers for an offline client. The protocol is
 * https://socket.io/docs/v4/socket-io-protocol/.
 */
export function openSocket(
  { url, path = '/socket.io', transport }: SocketOptions,
  listener: SocketListener,
): Socket {
  const namespace: string = parse(url).path || '/';
  const encoder = new Encoder();
  const decoder = new Decoder();
  const replies = new Map<number | undefined, (answer: never) => void>();
  let nextId = 0;
  let isConnected = false;
  let isClosed = false;
  let isClientError = false;
  const engine = new Engine(url, {
    path,
    // A WebSocket takes fewer round trips than polling, and no sticky sessions at the server.
    transports: transport === 'websocket' ? ['websocket'] : ['polling', 'websocket'],
  });

  function send(packet: Omit<Packet, 'nsp'>): void {
    for (const part of encoder.encode({ ...packet, nsp: namespace })) engine.write(part as string);
  }

  function closeWith(failure: CloseReason): void {
    if (isClosed) return;
    close();
    listener.onClose(failure);
  }

  function close(): void {
    if (isClosed) return;
    isClosed = true;
    if (isConnected) send({ type: PacketType.DISCONNECT });
    engine.close();
  }

  function onPacket({ type, nsp, id, data }: Packet): void {
    if (isClosed || nsp !== namespace) return;
    const args = Array.isArray(data) ? (data as unknown[]) : [];
    if (type === PacketType.EVENT) listener.onEvent(args[0], args.slice(1));
    else if (type === PacketType.ACK) {
      replies.get(id)?.(args[0] as never);
      replies.delete(id);
    } else if (type === PacketType.CONNECT) {
      isConnected = true;
      listener.onConnect();
    } else {
      const { message, data: refusal } = (data ?? {}) as { message?: unknown; data?: WireError };
      closeWith({ refusal, isNamespaceUnknown: message === 'Invalid namespace' });
    }
  }

  engine.on('open', () => {
    if (!isClosed) listener.onOpen(engine.transport.name);
  });
  engine.on('upgrade', () => {
    if (!isClosed) listener.onUpgrade();
  });
  engine.on('packet', ({ data }) => {
    if (!isClosed) listener.onPacket(typeof data === 'string' ? data.length : 0);
  });
  engine.on('data', (data) => {
    try {
      decoder.add(data);
    } catch {
      closeWith({});
    }
  });
  // A listener that throws affects neither the decoder nor the packets that follow.
  decoder.on('decoded', (packet) => queueMicrotask(() => onPacket(packet)));
  engine.on('error', (error) => {
    const { description: status } = error as { description?: unknown };
    isClientError = typeof status === 'number' && status >= 400 && status < 500;
  });
  engine.on('close', () => closeWith({ isClientError }));

  return {
    handshake: (data) => send({ type: PacketType.CONNECT, data }),
    emit(event, message, reply) {
      const packet = { type: PacketType.EVENT, data: [event, message] };
      if (reply === undefined) return send(packet);
      replies.set(nextId, reply);
      send({ ...packet, id: nextId++ });
    },
    get isClosed() {
      return isClosed;
    },
    close,
  };
}

export const UNKNOWN_NAMESPACE: WireError = {
  code: 'bad_request',
  message:
    'unable to connect: the server has no namespace with the path of `url`; set the path of a proxy as `path`',
  retryable: false,
};

export const NO_URL: WireError = {
  ...UNKNOWN_NAMESPACE,
  message: 'unable to connect: the page was not loaded by HTTP; set `url`',
};

/**
 * Completes `url` with the scheme and host of the page.
 *
 * @returns undefined if it is relative and no page was loaded by HTTP.
 */
export function absoluteUrl(url: string = '/'): string | undefined {
  if (/^(https?|wss?):\/\//.test(url)) return url;
  const { location = {} } = globalThis as { location?: Partial<Location> };
  const { protocol = 'https:', host = '' } = location;
  if (!url.startsWith('/')) return `${protocol}//${url}`;
  if (!protocol.startsWith('http') || host === '') return undefined;
  return url.startsWith('//') ? protocol + url : `${protocol}//${host}${url}`;
}
