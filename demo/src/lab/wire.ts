/** A frame of the page's WebSockets. */
export interface WebSocketFrame {
  /** Milliseconds since the page was opened. */
  at: number;
  isSent: boolean;
  bytes: number;
  /** The start of its text. */
  text: string;
}

export interface WireMonitor {
  /** The newest frames, oldest first. */
  readonly frames: readonly WebSocketFrame[];
  /** Bytes received since `reset()`. */
  readonly receivedBytes: number;
  /** Units of answers that were received since `reset()` although the page had them. */
  readonly repeatedUnits: number;
  reset(): void;
}

const MAX_FRAMES = 40;
const SHOWN_UNITS = 160;

/** Watches the WebSockets to Rivulet, from the next frame that each one sends. */
export function monitorWire(onFrame: () => void): WireMonitor {
  const { send } = WebSocket.prototype;
  const connections = new WeakMap<WebSocket, ConnectionOffsets>();
  const frames: WebSocketFrame[] = [];
  const offsets = createStreamOffsets();
  let receivedBytes = 0;
  let repeatedUnits = 0;

  /** @param receiver the offsets of the connection that the frame was received on; undefined for a sent frame. */
  function add(data: unknown, receiver?: ConnectionOffsets): void {
    const isSent = receiver === undefined;
    const text = typeof data === 'string' ? data : '(binary)';
    const bytes = new TextEncoder().encode(text).length;
    if (!isSent) {
      receivedBytes += bytes;
      repeatedUnits += receiver.repeatedUnits(text);
    }
    frames.push({ at: performance.now(), isSent, bytes, text: text.slice(0, SHOWN_UNITS) });
    if (frames.length > MAX_FRAMES) frames.shift();
    onFrame();
  }

  WebSocket.prototype.send = function (this: WebSocket, data) {
    if (new URL(this.url).pathname.startsWith('/socket.io/')) {
      if (!connections.has(this)) {
        const connection = offsets.connect();
        connections.set(this, connection);
        this.addEventListener('message', (event) => add(event.data, connection));
      }
      add(data);
    }
    send.call(this, data);
  };

  return {
    frames,
    get receivedBytes() {
      return receivedBytes;
    },
    get repeatedUnits() {
      return repeatedUnits;
    },
    reset() {
      receivedBytes = repeatedUnits = 0;
    },
  };
}

interface StreamOffsets {
  /** Starts a connection. A chunk names its stream by a number that is valid on one connection. */
  connect(): ConnectionOffsets;
}

interface ConnectionOffsets {
  /** @returns the number of units in a received frame that an earlier frame of the same stream had already. */
  repeatedUnits(frame: string): number;
}

function createStreamOffsets(): StreamOffsets {
  const ends = new Map<string, number>();

  return {
    connect() {
      const streams = new Map<unknown, string>();
      return {
        repeatedUnits(frame) {
          const [, json] = /^4[23]\d*(\[.*)$/s.exec(frame) ?? [];
          if (json === undefined) return 0;
          const [first, ...rest] = JSON.parse(json) as unknown[];
          for (const value of [first, ...rest]) readReply(value, streams);
          const [ref, offset, text] = rest;
          if (first !== 'c' || typeof offset !== 'number' || typeof text !== 'string') return 0;
          const id = streams.get(ref);
          // The reply came before the monitor watched this connection.
          if (id === undefined) return 0;
          const before = ends.get(id) ?? 0;
          ends.set(id, Math.max(before, offset + text.length));
          return Math.max(0, Math.min(before, offset + text.length) - offset);
        },
      };
    },
  };
}

/** Reads the number of a stream from a StreamReply, also from the one in a StreamReplyMessage. */
function readReply(value: unknown, streams: Map<unknown, string>): void {
  const { reply, ref, stream_id: id } = Object(value) as Record<string, unknown>;
  if (typeof ref === 'number' && typeof id === 'string') streams.set(ref, id);
  else if (reply !== undefined) readReply(reply, streams);
}
