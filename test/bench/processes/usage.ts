import { performance } from 'node:perf_hooks';
import { monotonicMs } from '../tokens/clock.js';

/** The CPU time and memory that a process has used so far. */
export interface Usage {
  atMs: number;
  /** Microseconds of all threads, in user and kernel mode. */
  cpuMicros: number;
  /** Milliseconds in which the event loop was not idle. */
  activeMs: number;
  rss: number;
  /** Bytes of V8's heap and of buffers. */
  heap: number;
}

export function usage(): Usage {
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed, external } = process.memoryUsage();
  return {
    atMs: monotonicMs(),
    cpuMicros: user + system,
    activeMs: performance.eventLoopUtilization().active,
    rss,
    heap: heapUsed + external,
  };
}

/** Collects garbage twice: finalizers of the first collection free memory for the second. */
export function usageAfterCollection(): Usage {
  globalThis.gc?.();
  globalThis.gc?.();
  return usage();
}
