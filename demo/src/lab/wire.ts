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
  const watched = new WeakSet<WebSocket>();
  const frames: WebSocketFrame[] = [];
  const offsets = createStreamOffsets();
  let receivedBytes = 0;
  let repeatedUnits = 0;

  function add(isSent: boolean, data: unknown): void {
    const text = typeof data === 'string' ? data : '(binary)';
    const bytes = new TextEncoder().encode(text).length;
    if (!isSent) {
      receivedBytes += bytes;
      repeatedUnits += offsets.repeatedUnits(text);
    }
    frames.push({ at: performance.now(), isSent, bytes, text: text.slice(0, SHOWN_UNITS) });
    if (frames.length > MAX_FRAMES) frames.shift();
    onFrame();
  }

  WebSocket.prototype.send = function (this: WebSocket, data) {
    if (new URL(this.url).pathname.startsWith('/socket.io/')) {
      if (!watched.has(this)) {
        watched.add(this);
        this.addEventListener('message', (event) => add(false, event.data));
      }
      add(true, data);
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
  /** @returns the number of units in a received frame that an earlier frame of the same stream had already. */
  repeatedUnits(frame: string): number;
}

/** Chunks name their stream by a number, which a reply has told before. */
function createStreamOffsets(): StreamOffsets {
  const streams = new Map<number, string>();
  const ends = new Map<string, number>();

  return {
    repeatedUnits(frame) {
      const [, json] = /^4[23]\d*(\[.*)$/s.exec(frame) ?? [];
      if (json === undefined) return 0;
      const [first, ...rest] = JSON.parse(json) as unknown[];
      for (const value of [first, ...rest]) {
        const { ref, stream_id: id } = Object(value) as { ref?: unknown; stream_id?: unknown };
        if (typeof ref === 'number' && typeof id === 'string') streams.set(ref, id);
      }
      const [ref, offset, text] = rest;
      if (first !== 'c' || typeof offset !== 'number' || typeof text !== 'string') return 0;
      const id = streams.get(Number(ref)) ?? String(ref);
      const before = ends.get(id) ?? 0;
      ends.set(id, Math.max(before, offset + text.length));
      return Math.max(0, Math.min(before, offset + text.length) - offset);
    },
  };
}
