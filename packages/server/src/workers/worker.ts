import type { ReadMetrics } from '../observe/prometheus.js';
import type { ProcessRole } from '../run-process.js';
import { type ToPrimary, type ToWorker, WORKER_ENV } from './messages.js';

/** A process that serves a port together with other workers. */
export interface Worker {
  readonly role: ProcessRole;
  /**
   * Lets the primary process read the metrics of this worker.
   *
   * @returns a function that reads the metrics of all workers.
   */
  shareMetrics(read: ReadMetrics | undefined): ReadMetrics | undefined;
}

const tell = (message: ToPrimary): void => void process.send?.(message);

/** Listens to the primary process, which started this one. Called once. */
export function joinPrimary(): Worker {
  let readOwn: ReadMetrics | undefined;
  let isEnding = false;
  let end = (): void => {};
  let settle: ((text: string) => void) | undefined;
  let reading: Promise<string> | undefined;

  process.on('message', (message: ToWorker) => {
    switch (message.type) {
      case 'end':
        return endOnce();
      case 'collect':
        return void collect();
      case 'metrics':
        settle?.(message.text);
        reading = undefined;
    }
  });

  async function collect(): Promise<void> {
    const text = await readOwn?.().catch(() => '');
    tell({ type: 'collected', text: text ?? '' });
  }

  function endOnce(): void {
    if (isEnding) return;
    isEnding = true;
    end();
  }

  return {
    role: {
      fields: { worker: Number(process.env[WORKER_ENV]) },
      ready: ({ url, providers }) => tell({ type: 'ready', url, providers }),
      onEnd(listener) {
        end = () => listener.end('SIGTERM');
        // A terminal and systemd also signal the workers, but the primary process handles the signals.
        process.on('SIGINT', () => {});
        process.on('SIGHUP', () => {});
        process.on('SIGTERM', endOnce);
        if (isEnding) end();
      },
    },
    shareMetrics(read) {
      if (read === undefined) return undefined;
      readOwn = read;
      return () => {
        reading ??= new Promise((resolve) => {
          settle = resolve;
          tell({ type: 'readMetrics' });
        });
        return reading;
      };
    },
  };
}
