/** The memory of a process after a garbage collection. */
export interface Sample {
  /** Since the process started. */
  seconds: number;
  heapMb: number;
  rssMb: number;
  /** The handles that keep the process alive: sockets, timers, servers. */
  resources: number;
  /** Listeners of the process and of its signals. */
  listeners: number;
  /** Connections, and generations under way; 0 in the process of the visitors. */
  sockets: number;
  generations: number;
}

/** The number of actions of the visitors. */
export interface Tally {
  asked: number;
  /** Answers that were compared from the first to the last character. */
  exact: number;
  cancelled: number;
  /** Answers whose handle was released for good, or whose client was closed. */
  left: number;
  resumed: number;
  /** Answers whose first attempt failed. */
  restarted: number;
}

export type ToPeer =
  | { type: 'sample' }
  | { type: 'read'; urls: readonly string[]; streams: number; seed: string }
  | { type: 'stop' };

export type FromPeer =
  | { type: 'listening'; url: string }
  | { type: 'sample'; sample: Sample; tally?: Tally }
  | { type: 'violation'; what: string }
  | { type: 'stopped' };
