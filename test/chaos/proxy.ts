import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { type Direction, type Faults, faultsOf } from './faults.js';
import { createFlow } from './flow.js';
import { monotonicMs } from './messages.js';

/** The times of events of a link, by the machine's monotonic clock. */
export interface Mishaps {
  readonly cuts: { fin: number; reset: number; down: number };
  readonly stalls: number;
  /** The times at which connections were accepted. */
  readonly takenAtMs: readonly number[];
  /** The times at which bytes passed again: after a cut, as soon as connections are accepted again. */
  readonly backAtMs: readonly { atMs: number; after: 'cut' | 'stall' }[];
}

/** A TCP link of one reader to the server, with faults. */
export interface FaultyLink {
  readonly url: string;
  readonly mishaps: Mishaps;
  /** No more faults. */
  calm(): void;
  close(): void;
}

/** @param target the server of each connection by its number, or of all. */
export async function faultyLink(
  target: string | ((connection: number) => string),
  name: string,
  { seed, longestMs }: { seed: string; longestMs: number },
  onCut: () => void,
): Promise<FaultyLink> {
  const cuts = { fin: 0, reset: 0, down: 0 };
  const takenAtMs: number[] = [];
  const backAtMs: Mishaps['backAtMs'][number][] = [];
  const ends = new Set<() => void>();
  const calmers = new Set<() => void>();
  let stalls = 0;
  let connections = 0;
  let isCalm = false;
  let isDown = false;

  function breakBoth(faults: Faults, near: Socket, far: Socket): void {
    if (isCalm || near.destroyed || far.destroyed) return;
    for (const socket of [near, far]) {
      if (faults.cut.reset) socket.resetAndDestroy();
      else socket.destroy();
    }
    cuts[faults.cut.reset ? 'reset' : 'fin'] += 1;
    const up = (): void => {
      isDown = false;
      backAtMs.push({ atMs: monotonicMs(), after: 'cut' });
    };
    if (faults.downMs > 0 && !isDown) {
      cuts.down += 1;
      isDown = true;
      setTimeout(up, faults.downMs);
    } else if (!isDown) up();
    onCut();
  }

  const server = createServer((near) => {
    if (isDown) return void near.destroy();
    takenAtMs.push(monotonicMs());
    const connection = connections++;
    const url = typeof target === 'string' ? target : target(connection);
    const far = connect(Number(new URL(url).port), '127.0.0.1');
    const faults = faultsOf(seed, longestMs, name, connection);
    const cut = (): void => breakBoth(faults, near, far);
    const timer = setTimeout(cut, faults.cut.afterMs);
    const calm = (): void => clearTimeout(timer);
    const flow = (from: Socket, to: Socket, direction: Direction): (() => void) =>
      createFlow(from, to, isCalm ? undefined : faultsIn(direction, faults), {
        cut,
        stalled: () => (stalls += 1),
        // Text does not wait for the other direction.
        resumed() {
          if (direction === 'down') backAtMs.push({ atMs: monotonicMs(), after: 'stall' });
        },
      });
    const calmUp = flow(near, far, 'up');
    const calmDown = flow(far, near, 'down');
    const calmAll = (): void => [calm, calmUp, calmDown].forEach((each) => each());
    if (isCalm) calmAll();
    const end = (): void => {
      calm();
      near.destroy();
      far.destroy();
      ends.delete(end);
      calmers.delete(calmAll);
    };
    ends.add(end);
    calmers.add(calmAll);
    for (const socket of [near, far]) {
      socket.setNoDelay(true);
      socket.on('error', end);
      socket.on('close', end);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get mishaps() {
      return { cuts, stalls, takenAtMs, backAtMs };
    },
    calm() {
      isCalm = true;
      for (const calm of calmers) calm();
    },
    close() {
      for (const end of ends) end();
      server.close();
    },
  };
}

function faultsIn(direction: Direction, { cut, stall, latencyMs, bytesPerSecond }: Faults) {
  return {
    cutAtByte: cut.direction === direction ? cut.atByte : Infinity,
    stallAtByte: stall?.direction === direction ? stall.atByte : Infinity,
    stallMs: stall?.forMs ?? 0,
    latencyMs,
    bytesPerSecond,
  };
}
