import type { Sample } from './messages.js';

/** @param counts what only this process knows. */
export function takeSample(counts: Partial<Sample> = {}): Sample {
  if (global.gc === undefined) throw new Error('start the process with --expose-gc');
  global.gc();
  const { heapUsed, rss } = process.memoryUsage();
  const names = process.eventNames();
  return {
    seconds: process.uptime(),
    heapMb: heapUsed / 1e6,
    rssMb: rss / 1e6,
    resources: process.getActiveResourcesInfo().length,
    listeners: names.reduce((sum, name) => sum + process.listenerCount(name), 0),
    sockets: 0,
    generations: 0,
    ...counts,
  };
}
