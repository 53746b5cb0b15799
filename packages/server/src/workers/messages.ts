/** A message from the primary process to a worker. */
export type ToWorker =
  /** Drain, close and exit. */
  | { type: 'end' }
  /** Send your own metrics. */
  | { type: 'collect' }
  /** The metrics of all workers, requested by the worker. */
  | { type: 'metrics'; text: string };

/** A message from a worker to the primary process. */
export type ToPrimary =
  /** The worker accepts connections. */
  | { type: 'ready'; url: string; providers: readonly string[] }
  /** Send the metrics of all workers. */
  | { type: 'readMetrics' }
  /** The worker's own metrics; empty if it has none. */
  | { type: 'collected'; text: string };

/**
 * The variable with the number of a worker, from 1 on. A worker that replaces another one has the same
 * number.
 */
export const WORKER_ENV = 'RIVULET_WORKER';
