import { setTimeout as wait } from 'node:timers/promises';
import { type Peer, startPeer } from '../harness/peer.js';
import type { FromReaders, FromServer, ReaderPlan, ServerStats, ToReaders } from './messages.js';
import { type FaultyLink, faultyLink } from './proxy.js';
import { replaysOf } from './replay.js';
import { type Spread, spreadOf } from './spread.js';

export interface ChaosPlan {
  seed: string;
  /** Clients of the SDK, in as many processes as `processes`. */
  clients: number;
  processes: number;
  /** Clients of plain Socket.IO, in a process of their own. */
  plainClients: number;
  streamsPerClient: number;
  /** No connection lives longer, until enough were broken. */
  longestMs: number;
  /** Connections to be broken. */
  drops: number;
  /** After this the run is over, and has failed. */
  timeLimitMs: number;
}

export interface ChaosReport {
  seconds: number;
  drops: { all: number; fin: number; reset: number; thenDown: number };
  stalls: number;
  answers: number;
  snapshots: number;
  /** Generations, and those of a question that had been generated before. */
  generations: number;
  generatedTwice: number;
  /** See replay.ts. */
  replays: number;
  linkMs: Spread;
  outageMs: Spread;
  /** The state of the server after every client has closed. */
  left: { sockets: number; generations: number };
  /** Empty if all went well. */
  violations: string[];
}

const LAST_ANSWERS_MS = 60_000;
const LEAVE_MS = 5_000;

/** Breaks connections under running streams, and compares all that readers show with what was said. */
export async function runChaos(plan: ChaosPlan): Promise<ChaosReport> {
  const startedAt = performance.now();
  const violations: string[] = [];
  const links = new Map<string, FaultyLink>();
  const grewAt = new Map<string, number[]>();
  const open = new Set<string>();
  let drops = 0;
  let answers = 0;
  let snapshots = 0;
  let onProgress = (): void => {};

  const server = startPeer<{ type: 'stats' }, FromServer>(new URL('./server.ts', import.meta.url));
  const peers: Peer<ToReaders, FromReaders>[] = [];

  async function until(isTrue: () => boolean, limitMs: number): Promise<boolean> {
    const limit = { isOver: false };
    const timer = setTimeout(() => {
      limit.isOver = true;
      onProgress();
    }, limitMs);
    while (!isTrue() && !limit.isOver) {
      await new Promise<void>((resolve) => {
        onProgress = resolve;
      });
    }
    clearTimeout(timer);
    return isTrue();
  }

  function hear(message: FromReaders): void {
    switch (message.type) {
      case 'asked':
        open.add(message.query);
        break;
      case 'ended':
        open.delete(message.query);
        answers += 1;
        snapshots += message.snapshots;
        onProgress();
        break;
      case 'violation':
        violations.push(`${message.query}: ${message.what}`);
        break;
      case 'grew':
        grewAt.get(message.name)?.push(...message.atMs);
    }
  }

  async function readers(kind: ReaderPlan['kind'], count: number): Promise<ReaderPlan[]> {
    return Promise.all(
      Array.from({ length: count }, async (_, i) => {
        const name = `${kind} ${i}`;
        const link = await faultyLink(url, name, plan, () => {
          drops += 1;
          onProgress();
        });
        links.set(name, link);
        grewAt.set(name, []);
        return { name, kind, url: link.url, streams: plan.streamsPerClient };
      }),
    );
  }

  function startReaders(plans: ReaderPlan[]): void {
    const peer = startPeer<ToReaders, FromReaders>(new URL('./readers.ts', import.meta.url));
    peer.onMessage(hear);
    peer.send({ type: 'read', plans });
    peers.push(peer);
  }

  const listening = await server.next(({ type }) => type === 'listening');
  const url = listening.type === 'listening' ? listening.url : '';
  async function stats(): Promise<ServerStats> {
    server.send({ type: 'stats' });
    const message = await server.next(({ type }) => type === 'stats');
    if (message.type !== 'stats') throw new Error('unreachable');
    return message.stats;
  }

  try {
    const sdk = await readers('sdk', plan.clients);
    const size = Math.ceil(plan.clients / plan.processes);
    for (let i = 0; i < sdk.length; i += size) startReaders(sdk.slice(i, i + size));
    startReaders(await readers('plain', plan.plainClients));

    if (!(await until(() => drops >= plan.drops, plan.timeLimitMs))) {
      violations.push(`only ${drops} of ${plan.drops} connections were broken in time`);
    }
    for (const link of links.values()) link.calm();
    for (const peer of peers) peer.send({ type: 'stop' });
    if (!(await until(() => open.size === 0, LAST_ANSWERS_MS))) {
      for (const query of open) violations.push(`${query}: did not end`);
    }
    // The last times of growth are under way.
    await wait(500);
    for (const peer of peers) peer.send({ type: 'close' });
    await Promise.all(peers.map((peer) => peer.ended()));

    let left = await stats();
    for (let ms = 0; ms < LEAVE_MS && (left.sockets > 0 || left.active > 0); ms += 100) {
      await wait(100);
      left = await stats();
    }
    violations.push(...faultsIn(left));
    return reportOf(left);
  } finally {
    for (const link of links.values()) link.close();
    for (const peer of peers) peer.kill();
    server.kill();
  }

  function reportOf(left: ServerStats): ChaosReport {
    const all = [...links.values()].map(({ mishaps }) => mishaps);
    const sum = (of: (mishaps: (typeof all)[number]) => number): number =>
      all.reduce((total, mishaps) => total + of(mishaps), 0);
    const replays = [...links].flatMap(([name, { mishaps }]) =>
      replaysOf(mishaps, grewAt.get(name) ?? []),
    );
    return {
      seconds: (performance.now() - startedAt) / 1000,
      drops: {
        all: drops,
        fin: sum(({ cuts }) => cuts.fin),
        reset: sum(({ cuts }) => cuts.reset),
        thenDown: sum(({ cuts }) => cuts.down),
      },
      stalls: sum(({ stalls }) => stalls),
      answers,
      snapshots,
      generations: left.generations,
      generatedTwice: left.twice.length,
      replays: replays.length,
      linkMs: spreadOf(replays.map(({ linkMs }) => linkMs)),
      outageMs: spreadOf(replays.map(({ outageMs }) => outageMs)),
      left: { sockets: left.sockets, generations: left.active },
      violations,
    };
  }
}

function faultsIn(left: ServerStats): string[] {
  const faults = left.twice.map((query) => `${query}: was generated twice`);
  if (left.sockets > 0) faults.push(`${left.sockets} sockets are left`);
  if (left.active > 0) faults.push(`${left.active} generations are left`);
  return faults;
}
