/** The requests to the server's process, and its replies. */
export interface ServerStats {
  generations: number;
  /** Questions that were generated more than once. */
  twice: string[];
  /** Generations under way. */
  active: number;
  sockets: number;
}

export type FromServer = { type: 'listening'; url: string } | { type: 'stats'; stats: ServerStats };

/** A client object of its own, behind a proxy of its own. */
export interface ReaderPlan {
  name: string;
  url: string;
  kind: 'sdk' | 'plain';
  /** Streams at once. */
  streams: number;
}

export type ToReaders =
  | { type: 'read'; plans: ReaderPlan[] }
  | { type: 'stop' }
  | { type: 'close' };

export type FromReaders =
  | { type: 'asked'; query: string }
  | { type: 'ended'; query: string; snapshots: number }
  | { type: 'violation'; query: string; what: string }
  /** The times at which a text of this reader grew, by the machine's monotonic clock. */
  | { type: 'grew'; name: string; atMs: number[] };

/** Milliseconds by the machine's monotonic clock, which all its processes share. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
