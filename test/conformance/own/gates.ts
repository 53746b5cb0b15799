import { once } from 'node:events';

interface Gates {
  open(name: string): void;
  /** Resolves once the gate is open; rejects with the signal's reason. */
  passed(name: string, signal: AbortSignal): Promise<void>;
}

const opened = new Set<string>();
const openings = new EventTarget();

/** Scripts wait at a gate until another script opens it. A gate stays open. */
export const gates: Gates = {
  open(name) {
    opened.add(name);
    openings.dispatchEvent(new Event(name));
  },
  async passed(name, signal) {
    signal.throwIfAborted();
    if (opened.has(name)) return;
    const left = new AbortController();
    try {
      await Promise.race([
        once(openings, name, { signal: left.signal }),
        once(signal, 'abort', { signal: left.signal }).then(() => signal.throwIfAborted()),
      ]);
    } finally {
      left.abort();
    }
  },
};
