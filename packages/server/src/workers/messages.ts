/** What the primary process tells a worker. */
export type ToWorker =
  /** Drain, close and exit. */
  | { type: 'end' }
  /** Send your own metrics. */
  | { type: 'collect' }
  /** The metrics of all workers, which the worker asked for. */
  | { type: 'metrics'; text: string };

/** What a worker tells the primary process. */
export type ToPrimary =
  /** Connections are accepted. */
  | { type: 'ready'; url: string; providers: readonly string[] }
  /** Send the metrics of all workers. */
  | { type: 'readMetrics' }
  /** The worker's own metrics; empty if it has none. */
  | { type: 'collected'; text: string };

/** Gives a worker its number, from 1 on. A worker that replaces another one has the same number. */
export const WORKER_ENV = 'RIVULET_WORKER';
