import { StreamError } from '@rivulet/protocol';
import type { Logger } from '../../observe/logger.js';
import type { RedisMetrics } from '../../observe/redis-metrics.js';
import type { StreamLimits, StreamRegistry } from '../stream-registry.js';
import type { SharedLogs } from './shared-log.js';
import type { RedisStore } from './store.js';

export interface RedisSettings {
  url: string;
  /** Certificates that are trusted instead of the well-known ones, in PEM form. */
  ca: string | undefined;
  /** All keys begin with it. */
  keyPrefix: string;
  /** The reaction to the loss of a process that generates answers. */
  onNodeLoss: 'restart' | 'fail';
}

/** The state that the parts of the directory share. */
export interface RedisContext {
  /** Names this process among those that share the Redis. It is random for each start. */
  readonly node: string;
  readonly settings: RedisSettings;
  readonly limits: StreamLimits;
  readonly logger: Logger;
  readonly metrics: RedisMetrics;
  readonly store: RedisStore;
  /** The streams of this process. */
  readonly registry: StreamRegistry;
  readonly logs: SharedLogs;
}

/** The time to live of what belongs to a running stream. Its owner renews it. */
export const LIVE_MS = 300_000;
/** A stream is awaited for so long until its first reader has come. */
export const FIRST_READER_MS = 80_000;
/** Streams are served without Redis once it has not answered for so long. */
export const LOCAL_AFTER_MS = 1_000;

/** @returns the error of a request that needs Redis. */
export function unreachable(action: string): StreamError {
  return new StreamError(
    'overloaded',
    `unable to ${action}: the server cannot reach its store; try again soon`,
    { retryAfterMs: 1_000 },
  );
}
