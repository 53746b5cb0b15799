import type { Socket } from 'node:net';

export interface FlowFaults {
  cutAtByte: number;
  stallAtByte: number;
  stallMs: number;
  latencyMs: number;
  bytesPerSecond: number | undefined;
}

export interface FlowEvents {
  cut(): void;
  stalled(): void;
  /** Bytes pass again after a stall. */
  resumed(): void;
}

const SLOW_EVERY_MS = 100;
/** The input of a handshake, and the connection that it opens. */
const SLOW_FROM_BYTE = 4_096;

/** Passes bytes on in one direction, with faults. The returned function ends the faults. */
export function createFlow(
  from: Socket,
  to: Socket,
  faults: FlowFaults | undefined,
  events: FlowEvents,
): () => void {
  const waiting: { bytes: Buffer; dueMs: number }[] = [];
  let left = faults;
  let stallAtByte = faults?.stallAtByte ?? Infinity;
  let passed = 0;
  let isStalled = false;
  let timer: NodeJS.Timeout | undefined;

  function again(ms: number): void {
    timer = setTimeout(() => {
      timer = undefined;
      pump();
    }, ms);
  }

  function stall(ms: number): void {
    isStalled = true;
    events.stalled();
    setTimeout(() => {
      isStalled = false;
      if (to.destroyed) return;
      events.resumed();
      pump();
    }, ms);
  }

  function pump(): void {
    for (;;) {
      const first = waiting[0];
      if (first === undefined || isStalled || timer !== undefined || to.destroyed) return;
      const waitMs = left === undefined ? 0 : first.dueMs - performance.now();
      if (waitMs > 0) return again(waitMs);
      const rate = passed < SLOW_FROM_BYTE ? undefined : left?.bytesPerSecond;
      const slice = rate && (rate * SLOW_EVERY_MS) / 1000;
      const most = Math.min(
        first.bytes.length,
        (left?.cutAtByte ?? Infinity) - passed,
        stallAtByte - passed,
        slice ?? Infinity,
      );
      to.write(first.bytes.subarray(0, most));
      passed += most;
      first.bytes = first.bytes.subarray(most);
      if (first.bytes.length === 0) waiting.shift();
      if (left !== undefined && passed >= left.cutAtByte) return events.cut();
      if (left !== undefined && passed >= stallAtByte) {
        stallAtByte = Infinity;
        return stall(left.stallMs);
      }
      if (slice !== undefined) return again(SLOW_EVERY_MS);
    }
  }

  from.on('data', (bytes) => {
    waiting.push({ bytes, dueMs: performance.now() + (left?.latencyMs ?? 0) });
    pump();
  });
  from.on('close', () => clearTimeout(timer));
  return () => {
    left = undefined;
    stallAtByte = Infinity;
    clearTimeout(timer);
    timer = undefined;
    pump();
  };
}
