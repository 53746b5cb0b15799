/** What a measured server is asked: figures after a collection of garbage, or to let the held go on. */
export type ToServer = { type: 'figures' } | { type: 'release' };

export interface ServerFigures {
  rss: number;
  heap: number;
  external: number;
  cpuMicros: number;
  sockets: number;
  /** Timers, handles and requests that keep the process alive. */
  resources: number;
}

export type FromServer =
  | { type: 'listening'; url: string }
  | { type: 'figures'; figures: ServerFigures };

/** How a client process asks: as a reader with a window, or of a bare Socket.IO server. */
export type Side = 'rivulet' | 'floor';

export type ToClients =
  | { type: 'connect'; url: string; sockets: number; socketsPerBrowser: number }
  /** Every socket asks once; those of one browser ask the same under one id if `shared`. */
  | { type: 'ask'; side: Side; query: string; windowUnits: number | undefined; shared: boolean }
  /** From now on no socket reads. */
  | { type: 'pause' }
  | { type: 'close' };

export type FromClients =
  | { type: 'connected' }
  | { type: 'opened' }
  | { type: 'paused' }
  /** All have ended. Milliseconds from each token's making to its arrival. */
  | { type: 'ended'; tokens: number; latenciesMs: number[] };
