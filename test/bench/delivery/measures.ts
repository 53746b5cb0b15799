import { setTimeout as wait } from 'node:timers/promises';
import { ended, growth, percentile, startClients, startMeasured } from './bench.js';
import type { Side } from './talk.js';

const WINDOW_UNITS = 65_536;

/** Kilobytes that an idle connection costs. */
export async function idle(side: Side, connections: number) {
  const server = await startMeasured(side);
  const warm = await startClients(server.url, 50);
  const before = await server.figures();
  const clients = await startClients(server.url, connections);
  const after = await server.figures();
  clients.kill();
  warm.kill();
  server.stop();
  return growth(before, after, connections);
}

/** Streams at 20 tokens a second: whether all arrived, how late, and what it cost the server. */
export async function load(side: Side, streams: number, seconds: number) {
  const tokens = seconds * 20;
  const server = await startMeasured(side);
  const half = Math.ceil(streams / 2);
  const clients = [
    await startClients(server.url, half),
    await startClients(server.url, streams - half),
  ];
  const before = await server.figures();
  const startedAt = performance.now();
  const windowUnits = side === 'rivulet' ? WINDOW_UNITS : undefined;
  const query = `tokens ${tokens} 50`;
  const results = await Promise.all(
    clients.map((peer) => {
      const result = ended(peer);
      peer.send({ type: 'ask', side, query, windowUnits, shared: false });
      return result;
    }),
  );
  const tookMs = performance.now() - startedAt;
  const after = await server.figures();
  for (const peer of clients) peer.kill();
  server.stop();
  const latenciesMs = results.flatMap((result) => result.latenciesMs);
  return {
    missing: streams * tokens - results.reduce((sum, result) => sum + result.tokens, 0),
    p50: percentile(latenciesMs, 0.5),
    p99: percentile(latenciesMs, 0.99),
    cpuPercent: (after.cpuMicros - before.cpuMicros) / tookMs / 10,
    seconds: tookMs / 1000,
  };
}

/**
 * Readers that stop reading while answers of a megabyte are generated: what the server holds more, and
 * how late the tokens of a reader beside them come, before and meanwhile.
 */
export async function slowReaders(readers: number, windowUnits: number | undefined) {
  const readersPerStream = 40;
  const server = await startMeasured('rivulet');
  const fast = await startClients(server.url, 1);
  const paceOf = async () => {
    const result = ended(fast);
    const query = 'tokens 300 50';
    fast.send({
      type: 'ask',
      side: 'rivulet',
      query,
      windowUnits: WINDOW_UNITS,
      shared: false,
    });
    const { latenciesMs } = await result;
    return { p50: percentile(latenciesMs, 0.5), p99: percentile(latenciesMs, 0.99) };
  };
  await paceOf();
  const alone = await paceOf();
  const slow = await startClients(server.url, readers, readersPerStream);
  const opened = slow.next(({ type }) => type === 'opened');
  slow.send({ type: 'ask', side: 'rivulet', query: 'megabyte', windowUnits, shared: true });
  await opened;
  const paused = slow.next(({ type }) => type === 'paused');
  slow.send({ type: 'pause' });
  await paused;
  const before = await server.figures();
  server.release();
  const beside = await paceOf();
  // A megabyte takes about twenty seconds.
  await wait(6_000);
  const after = await server.figures();
  slow.kill();
  fast.kill();
  server.stop();
  const logsMb = Math.ceil(readers / readersPerStream);
  const { heapKb, rssKb } = growth(before, after, 1);
  return {
    logsMb,
    heapMb: heapKb / 1024,
    rssMb: rssKb / 1024,
    boundMb: 2 * logsMb + (64 * readers) / 1024,
    alone,
    beside,
  };
}

/** What is left of streams that came and went. */
export async function churn(streams: number) {
  const sockets = 100;
  const server = await startMeasured('rivulet');
  const clients = await startClients(server.url, sockets);
  const rounds = async (count: number): Promise<void> => {
    for (let round = 0; round < count; round++) {
      const result = ended(clients);
      const ask = { type: 'ask', side: 'rivulet', query: 'tokens 20', shared: false } as const;
      clients.send({ ...ask, windowUnits: WINDOW_UNITS });
      await result;
    }
    // Finished streams are kept for half a second here.
    await wait(1_500);
  };
  await rounds(30);
  const before = await server.figures();
  await rounds(streams / sockets);
  const after = await server.figures();
  clients.kill();
  await wait(500);
  const left = await server.figures();
  server.stop();
  return {
    heapKb: growth(before, after, 1).heapKb,
    bytesPerStream: (growth(before, after, streams).heapKb * 1024) | 0,
    resourcesMore: after.resources - before.resources,
    socketsLeft: left.sockets,
  };
}
