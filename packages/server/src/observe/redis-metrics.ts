import {
  type Counter,
  type Histogram,
  type MeterProvider,
  metrics,
  type ObservableResult,
} from '@opentelemetry/api';

/** The metrics of streams that several processes share through Redis. */
export interface RedisMetrics {
  /** Seconds from an append to the reply of Redis. One append contains the text of several streams. */
  readonly appendSeconds: Histogram;
  /** Seconds until a message to this process has passed through Redis. Measured once a second. */
  readonly followerLagSeconds: Histogram;
  /** Answers of other processes that this process has taken over, by `outcome`. */
  readonly takeovers: Counter;
  /**
   * Calls `isDegraded` whenever metrics are collected.
   *
   * @returns a function that stops this.
   */
  observe(isDegraded: () => boolean): () => void;
}

const SECONDS = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Creates the instruments, with the process's global meter provider unless another is given. */
export function createRedisMetrics(
  provider: MeterProvider = metrics.getMeterProvider(),
): RedisMetrics {
  const meter = provider.getMeter('rivulet');
  const histogram = (name: string, description: string): Histogram =>
    meter.createHistogram(name, {
      unit: 's',
      description,
      advice: { explicitBucketBoundaries: SECONDS },
    });
  const degraded = meter.createObservableGauge('llm_redis_degraded', {
    description: '1 while streams are not shared with other servers, 0 while they are.',
  });
  return {
    appendSeconds: histogram('llm_redis_append_seconds', 'From an append to the reply of Redis.'),
    followerLagSeconds: histogram(
      'llm_redis_follower_lag_seconds',
      'Until a message to this server has gone through Redis, measured once a second.',
    ),
    takeovers: meter.createCounter('llm_redis_takeovers', {
      description: 'Answers of other servers that this server took over.',
    }),
    observe(isDegraded) {
      const callback = (result: ObservableResult): void => result.observe(isDegraded() ? 1 : 0);
      degraded.addCallback(callback);
      return () => degraded.removeCallback(callback);
    },
  };
}
