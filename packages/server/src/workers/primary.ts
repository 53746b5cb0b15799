import cluster, { type Worker } from 'node:cluster';
import { setTimeout as wait } from 'node:timers/promises';
import type { Logger } from '../observe/logger.js';
import { CONFIG_EXIT_CODE, type ProcessContext, type RunningServer } from '../run-process.js';
import { ConfigError } from '../settings/resolve-settings.js';
import { mergeMetrics } from './merge-metrics.js';
import { type ToPrimary, type ToWorker, WORKER_ENV } from './messages.js';

/**
 * Milliseconds before a worker that exited unexpectedly is replaced. The delay doubles after each further
 * exit.
 */
const FIRST_RESTART_MS = 100;
const MAX_RESTART_MS = 30_000;
/** A worker that has run for so many milliseconds resets the delay. */
const STEADY_MS = 60_000;
/** A worker that does not exit is killed so many milliseconds after the limit of its streams. */
const END_MS = 5_000;
/** A worker that does not respond within so many milliseconds is missing in the metrics. */
const COLLECT_MS = 1_000;

/**
 * Serves one port with `count` processes, to which connections are distributed in turn. Replaces workers that
 * exit unexpectedly. `drain()` resolves when all workers have drained and exited.
 *
 * @throws {ConfigError} there is no Redis, or a setting is wrong for the workers.
 */
export async function startWorkers(
  count: number,
  { settings, logger }: ProcessContext,
): Promise<RunningServer> {
  if (settings.redis.url === undefined) {
    throw new ConfigError(
      '--workers needs REDIS_URL: each worker is a process of its own, and finds the streams of the others in Redis',
    );
  }
  cluster.schedulingPolicy = cluster.SCHED_RR;
  const slots = Array.from({ length: count }, (_, i) => new WorkerSlot(i + 1, logger, readAll));
  process.on('exit', () => slots.forEach((slot) => slot.kill()));
  let reading: Promise<string> | undefined;

  /** Reads the metrics of all workers. Concurrent calls share one result. */
  function readAll(): Promise<string> {
    reading ??= collect().finally(() => {
      reading = undefined;
    });
    return reading;
  }

  async function collect(): Promise<string> {
    const texts = await Promise.all(slots.map((slot) => slot.collect()));
    const read = texts.map((text, i) => [i + 1, text ?? ''] as const);
    return mergeMetrics(new Map(read));
  }

  const [first, ...others] = slots;
  // A wrong setting is wrong for all workers, so only the first one reports it.
  const { url, providers } = await first!.start();
  await Promise.all(others.map((slot) => slot.start()));
  const { drainSeconds } = settings;
  return {
    line: `rivulet: ${url} (${providers.join(', then ')}; ${count} workers)`,
    url,
    providers,
    async drain() {
      const late = setTimeout(
        () => slots.forEach((slot) => slot.kill()),
        drainSeconds * 1000 + END_MS,
      );
      await Promise.all(slots.map((slot) => slot.end()));
      clearTimeout(late);
    },
    async close() {},
  };
}

type Ready = Extract<ToPrimary, { type: 'ready' }>;

/** One worker and its replacements. */
class WorkerSlot {
  readonly #number: number;
  readonly #logger: Logger;
  readonly #readAll: () => Promise<string>;
  #worker: Worker | undefined;
  #isReady = false;
  #startedAt = 0;
  /** The number of consecutive workers that exited early. */
  #failures = 0;
  #restartTimer: NodeJS.Timeout | undefined;
  #isEnding = false;
  #onReady: ((ready: Ready) => void) | undefined;
  #onCollected: ((text: string | undefined) => void) | undefined;

  constructor(number: number, logger: Logger, readAll: () => Promise<string>) {
    this.#number = number;
    this.#logger = logger;
    this.#readAll = readAll;
  }

  /** @throws {ConfigError} a setting of the worker is wrong. */
  start(): Promise<Ready> {
    return new Promise((resolve, reject) => {
      const worker = this.#fork();
      const fail = (exitCode: number | null): void => {
        this.#isEnding = true;
        const message = 'a worker could not start; its reason is above';
        reject(exitCode === CONFIG_EXIT_CODE ? new ConfigError(message) : new Error(message));
      };
      worker.prependOnceListener('exit', fail);
      this.#onReady = (ready) => {
        worker.off('exit', fail);
        resolve(ready);
      };
    });
  }

  /** @returns the metrics of the worker; undefined if it does not respond. */
  async collect(): Promise<string | undefined> {
    const worker = this.#worker;
    if (worker === undefined) return undefined;
    const collected = new Promise<string | undefined>((resolve) => {
      this.#onCollected = resolve;
    });
    tell(worker, { type: 'collect' });
    return Promise.race([collected, wait(COLLECT_MS, undefined, { ref: false })]);
  }

  /** Resolves when the worker has drained and exited. */
  async end(): Promise<void> {
    this.#isEnding = true;
    clearTimeout(this.#restartTimer);
    const worker = this.#worker;
    // A process that could not be started has no `exit`.
    if (worker?.process.pid === undefined) return;
    // `once` of `node:events` would reject with the error of a message that the worker does not get.
    const exited = new Promise((resolve) => worker.once('exit', resolve));
    if (this.#isReady) tell(worker, { type: 'end' });
    else this.kill();
    await exited;
  }

  kill(): void {
    this.#worker?.process.kill('SIGKILL');
  }

  #fork(): Worker {
    const worker = cluster.fork({ [WORKER_ENV]: String(this.#number) });
    this.#worker = worker;
    this.#isReady = false;
    this.#startedAt = performance.now();
    worker.on('message', (message: ToPrimary) => this.#receive(worker, message));
    worker.on('exit', (exitCode, signal) => this.#exited(worker.process.pid, { exitCode, signal }));
    worker.on('error', (err) => {
      if (worker.process.pid === undefined) this.#exited(undefined, { err });
    });
    return worker;
  }

  #receive(worker: Worker, message: ToPrimary): void {
    switch (message.type) {
      case 'ready':
        this.#isReady = true;
        this.#logger.info({
          event: 'WORKER_READY',
          worker: this.#number,
          pid: worker.process.pid,
        });
        return this.#onReady?.(message);
      case 'readMetrics':
        return void this.#readAll().then((text) => tell(worker, { type: 'metrics', text }));
      case 'collected':
        this.#onCollected?.(message.text);
    }
  }

  #exited(
    pid: number | undefined,
    how: { exitCode?: number | null; signal?: string | null; err?: unknown },
  ): void {
    this.#worker = undefined;
    this.#onCollected?.(undefined);
    const fields = { event: 'WORKER_EXIT', worker: this.#number, pid, ...how };
    if (this.#isEnding) return this.#logger.info(fields);
    if (performance.now() - this.#startedAt > STEADY_MS) this.#failures = 0;
    const restartMs = Math.min(MAX_RESTART_MS, FIRST_RESTART_MS * 2 ** this.#failures);
    this.#failures += 1;
    this.#logger[how.exitCode === 0 ? 'info' : 'error']({ ...fields, restartMs });
    this.#restartTimer = setTimeout(() => this.#restart(), restartMs);
  }

  #restart(): void {
    try {
      this.#fork();
    } catch (err) {
      this.#exited(undefined, { err });
    }
  }
}

function tell(worker: Worker, message: ToWorker): void {
  // The callback ignores the error of a worker that has just exited.
  worker.send(message, () => {});
}
