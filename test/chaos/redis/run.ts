import { setTimeout as wait } from 'node:timers/promises';
import { freePort } from '../../harness/free-port.js';
import { type Peer, startPeer } from '../../harness/peer.js';
import { runRedis, type TestRedis } from '../../harness/redis.js';
import { monotonicMs } from '../messages.js';
import { type FaultyLink, faultyLink } from '../proxy.js';
import { between, type Random, randomOf } from '../random.js';
import { replaysOf } from '../replay.js';
import { type Spread, spreadOf } from '../spread.js';
import { auditRedis, describeLog } from './audit.js';
import type { FromNode, FromReaders, ToNode, ToReaders, VisitorPlan } from './messages.js';

export interface RedisChaosPlan {
  seed: string;
  /** Server processes. */
  nodes: number;
  /** Visitors with two clients each, in as many processes as `processes`. */
  visitors: number;
  processes: number;
  streamsPerVisitor: number;
  /** No connection lives longer, until there were enough faults. */
  longestMs: number;
  /** Broken connections, and faults of servers and of Redis. */
  faults: number;
  /** The faults of servers and of Redis that there have to be among them. */
  processFaults: number;
  /** True if connections of readers break by themselves. */
  linksBreak: boolean;
  /** The faults of servers and of Redis. */
  kinds: readonly ProcessFault[];
  /** The least time between two faults of servers and of Redis. */
  restMs: number;
  /** True if faults of Redis may occur while a server is being replaced. */
  faultsMeet: boolean;
  /** After this no fault is made any more. */
  timeLimitMs: number;
}

export interface RedisChaosReport {
  seconds: number;
  faults: Record<ProcessFault | 'cut', number>;
  answers: number;
  /** Of those, cancelled by a client at any server; with more than one attempt. */
  cancelled: number;
  replaced: number;
  /**
   * Readers that were told that their stream is gone, or read another whole text than the other reader of it, where
   * the server that generated the stream was without Redis for over a second meanwhile: it then serves its readers
   * alone. A reader whose text is replaced always gets a further attempt, or a reset to the beginning.
   */
  apart: number;
  /** The keys in Redis at the end. */
  logs: number;
  attempts: number;
  /** From a broken connection to the next text; see replay.ts. */
  outageMs: Spread;
  /**
   * From the end or the stop of a server to the first text that a reader of its answer gets afterwards. Redis is
   * well if it has had no fault from shortly before that until then.
   */
  recoveryMs: Record<Fault, Record<'redisWell' | 'redisBroken', number[]>>;
  /** The steps of those recoveries from a SIGKILL while Redis is well, in milliseconds from the SIGKILL. */
  steps: readonly RecoverySteps[];
  left: { sockets: number; generations: number };
  /** Empty if all went well. */
  violations: string[];
}

type Fault = 'kill' | 'stop';

/** When what happened after a SIGKILL, in milliseconds from it. */
export interface RecoverySteps {
  /** Another server has the log. */
  claimed: number;
  /** The model is asked again. */
  asked: number;
  /** The reader is connected to a server; 0 if its connection was another one's. */
  connected: number;
  /** The reader shows text of the new attempt. */
  shown: number;
}

/** A server is killed, or stopped for a while; Redis is killed, or loses its subscribers. */
export type ProcessFault = 'kill' | 'stop' | 'redis' | 'subscribers';

interface Node {
  readonly index: number;
  readonly port: number;
  url: string;
  /** The name of the process, by which its calls are known. */
  name: string;
  peer: Peer<ToNode, FromNode>;
  status: 'running' | 'stopped' | 'starting';
  runs: number;
}

const LAST_ANSWERS_MS = 90_000;
const LEAVE_MS = 10_000;
/** A server serves its readers without Redis after so long. */
const ALONE_AFTER_MS = 1_000;
/** After Redis has come back, servers put back what it missed. The loss of both is not promised to be exact. */
const AFTER_REDIS_MS = 4_000;
/** A server takes over once Redis has answered for so long; the time for a connection is added. */
const STEADY_MS = 3_500;
/** Text that a server sent before its end may be shown so much later. */
const STILL_SHOWN_MS = 500;
/** A server is replaced within this time. */
const TAKEOVER_MS = 6_000;
export const PROCESS_FAULTS: readonly ProcessFault[] = [
  'kill',
  'stop',
  'redis',
  'subscribers',
  'subscribers',
];

/** Breaks connections, servers and Redis under running streams, and compares all that readers show. */
export async function runRedisChaos(plan: RedisChaosPlan): Promise<RedisChaosReport> {
  const startedAt = performance.now();
  const violations: string[] = [];
  const links = new Map<string, FaultyLink>();
  const grewAt = new Map<string, number[]>();
  const open = new Set<string>();
  const faults = { cut: 0, kill: 0, stop: 0, redis: 0, subscribers: 0 };
  const brokenAt = new Map<string, { fault: Fault; atMs: number }>();
  const redisBrokenAtMs: number[] = [];
  const recoveryMs: RedisChaosReport['recoveryMs'] = {
    kill: { redisWell: [], redisBroken: [] },
    stop: { redisWell: [], redisBroken: [] },
  };
  const unended: Extract<FromReaders, { type: 'unended' }>[] = [];
  const wrong: Extract<FromReaders, { type: 'violation' }>[] = [];
  const apart: Extract<FromReaders, { type: 'apart' }>[] = [];
  /** When each server could not reach Redis, by the name of its process. */
  const outages = new Map<string, { fromMs: number; toMs: number }[]>();
  /** Which process began to generate each answer, and when. */
  const calls = new Map<string, { process: string; call: string; atMs: number }[]>();
  /** The log lines of the servers about each answer, by its request id. */
  const lines = new Map<string, Extract<FromNode, { type: 'line' }>[]>();
  const steps: RecoverySteps[] = [];
  const counts = { answers: 0, cancelled: 0, replaced: 0, apart: 0 };
  let onProgress = (): void => {};
  const state = { isOver: false };

  const redis = await runRedis('--appendonly', 'yes', '--maxmemory-policy', 'noeviction');
  const readers: Peer<ToReaders, FromReaders>[] = [];
  const nodes: Node[] = [];

  async function startNode(node: Node): Promise<void> {
    node.status = 'starting';
    node.name = `${node.index}.${node.runs++}`;
    node.peer = startPeer(new URL('./node.ts', import.meta.url), [
      node.name,
      `${node.port}`,
      redis.url,
    ]);
    const { name: process } = node;
    node.peer.onMessage((message) => {
      if (message.type === 'call') {
        const { query, call, atMs } = message;
        calls.set(query, [...(calls.get(query) ?? []), { process, call, atMs }]);
      }
      if (message.type === 'line') {
        const known = lines.get(message.requestId) ?? [];
        lines.set(message.requestId, known);
        known.push(message);
      }
      if (message.type !== 'redis') return;
      const { atMs, isReached } = message;
      const own = outages.get(process) ?? [];
      outages.set(process, own);
      const last = own.at(-1);
      if (!isReached) own.push({ fromMs: atMs, toMs: Infinity });
      else if (last !== undefined) last.toMs = Math.min(last.toMs, atMs);
    });
    await node.peer.next(({ type }) => type === 'listening');
    node.status = 'running';
  }

  function hear(message: FromReaders): void {
    switch (message.type) {
      case 'asked':
        open.add(message.query);
        break;
      case 'ended':
        open.delete(message.query);
        counts.answers += 1;
        if (message.status === 'cancelled') counts.cancelled += 1;
        if (message.attempt > 1) counts.replaced += 1;
        onProgress();
        break;
      case 'unended':
        unended.push(message);
        break;
      case 'violation':
        wrong.push(message);
        break;
      case 'apart':
        apart.push(message);
        break;
      case 'replaced': {
        const broken = brokenAt.get(message.before.slice(0, message.before.lastIndexOf('.')));
        // An answer that was replaced earlier, or was read anew, says nothing of the fault.
        if (broken === undefined || message.sinceMs > broken.atMs + STILL_SHOWN_MS) break;
        const { fault, atMs } = broken;
        const isWell = redisBrokenAtMs.every(
          (redisMs) => redisMs < atMs - STEADY_MS || redisMs > message.atMs,
        );
        recoveryMs[fault][isWell ? 'redisWell' : 'redisBroken'].push(message.atMs - atMs);
        if (fault === 'kill' && isWell) steps.push(stepsOf(message, atMs));
        break;
      }
      case 'grew':
        grewAt.get(message.name)?.push(...message.atMs);
    }
  }

  function stepsOf(
    {
      query,
      requestId = '',
      call,
      connectedAtMs,
      atMs,
    }: Extract<FromReaders, { type: 'replaced' }>,
    killedAtMs: number,
  ): RecoverySteps {
    const claim = lines
      .get(requestId)
      ?.findLast(({ event, atMs: at }) => event === 'STREAM_RESUMED_AFTER_LOSS' && at <= atMs);
    const asked = calls.get(query)?.find((each) => each.call === call);
    const since = (at = NaN): number => at - killedAtMs;
    return {
      claimed: since(claim?.atMs),
      asked: since(asked?.atMs),
      connected: Math.max(0, since(connectedAtMs)),
      shown: since(atMs),
    };
  }

  async function until(isTrue: () => boolean, limitMs: number): Promise<boolean> {
    const limit = { isReached: false };
    const timer = setTimeout(() => {
      limit.isReached = true;
      onProgress();
    }, limitMs);
    while (!isTrue() && !limit.isReached) {
      await new Promise<void>((resolve) => {
        onProgress = resolve;
      });
    }
    clearTimeout(timer);
    return isTrue();
  }

  async function visitor(i: number): Promise<VisitorPlan> {
    const name = `visitor ${i}`;
    grewAt.set(name, []);
    const urls = await Promise.all(
      [name, `${name} along`].map(async (client) => {
        const random = randomOf(`${plan.seed} ${client} servers`);
        const target = (): string => nodes[between(random, 0, nodes.length - 1)]!.url;
        const link = await faultyLink(target, client, plan, () => {
          faults.cut += 1;
          onProgress();
        });
        links.set(client, link);
        if (!plan.linksBreak) link.calm();
        return link.url;
      }),
    );
    return { name, urls: urls as [string, string], streams: plan.streamsPerVisitor };
  }

  const processFaults = (): number => faults.kill + faults.stop + faults.redis + faults.subscribers;
  const hasEnough = (): boolean =>
    faults.cut + processFaults() >= plan.faults && processFaults() >= plan.processFaults;

  try {
    for (let index = 0; index < plan.nodes; index++) {
      const port = await freePort();
      const url = `http://127.0.0.1:${port}`;
      const node = { index, port, url, runs: 0, name: '', status: 'starting' } as Node;
      nodes.push(node);
    }
    await Promise.all(nodes.map(startNode));
    const plans = await Promise.all(Array.from({ length: plan.visitors }, (_, i) => visitor(i)));
    const size = Math.ceil(plans.length / plan.processes);
    for (let i = 0; i < plans.length; i += size) {
      const peer = startPeer<ToReaders, FromReaders>(new URL('./readers.ts', import.meta.url));
      peer.onMessage(hear);
      peer.send({ type: 'read', seed: plan.seed, plans: plans.slice(i, i + size) });
      readers.push(peer);
    }

    const breaking = breakProcesses();
    if (!(await until(hasEnough, plan.timeLimitMs)))
      violations.push(`only ${faults.cut + processFaults()} of ${plan.faults} faults in time`);
    state.isOver = true;
    await breaking;
    for (const link of links.values()) link.calm();
    for (const peer of readers) peer.send({ type: 'stop' });
    const areAllEnded = await until(() => open.size === 0, LAST_ANSWERS_MS);
    if (!areAllEnded) for (const peer of readers) peer.send({ type: 'describe' });
    // The last times of growth are under way.
    await wait(500);
    for (const query of open) violations.push(`${query}: did not end\n${await describe(query)}`);
    for (const peer of readers) peer.send({ type: 'close' });
    await Promise.all(readers.map((peer) => peer.ended()));

    const left = await whenEmpty();
    if (left.sockets > 0) violations.push(`${left.sockets} sockets are left`);
    if (left.generations > 0) violations.push(`${left.generations} generations are left`);
    const audit = await auditRedis(redis.url);
    violations.push(...audit.faults);
    for (const { query, requestId, what } of wrong)
      violations.push(`${query}: ${what}\n${history(query, requestId)}`);
    for (const { query, requestId, what, atMs } of apart) {
      const generating = calls.get(query) ?? [];
      const wasAlone = generating.some(({ process, atMs: sinceMs }) =>
        outages
          .get(process)
          ?.some(
            ({ fromMs, toMs }) =>
              toMs - fromMs > ALONE_AFTER_MS && fromMs <= atMs && toMs >= sinceMs,
          ),
      );
      if (wasAlone) counts.apart += 1;
      else violations.push(`${query}: ${what}\n${history(query, requestId)}`);
    }
    return reportOf(left, audit);
  } finally {
    state.isOver = true;
    for (const link of links.values()) link.close();
    for (const { peer } of nodes) {
      peer.signal('SIGCONT');
      peer.kill();
    }
    for (const peer of readers) peer.kill();
    await redis.end();
  }

  /** The facts about an answer that has not ended: in its clients, in Redis and in the servers. */
  async function describe(query: string): Promise<string> {
    const known = unended.find((each) => each.query === query);
    const at = `now ${monotonicMs().toFixed(0)}; servers ${nodes.map(({ name }) => name).join(', ')}`;
    const { requestId } = known ?? {};
    const inRedis = requestId === undefined ? [] : await describeLog(redis.url, requestId);
    const parts = [at, known?.clients ?? 'no client', ...inRedis];
    return [...parts.map((line) => `    ${line}`), history(query, requestId)].join('\n');
  }

  /** The log lines of the servers that generated an answer, and their faults. */
  function history(query: string, requestId: string | undefined): string {
    const called = calls.get(query) ?? [];
    const ofProcess = called.map(({ process, atMs }) => {
      const fault = brokenAt.get(process);
      const wasBroken = fault && `, ${fault.fault} at ${fault.atMs.toFixed(0)}`;
      const away = (outages.get(process) ?? []).map(
        ({ fromMs, toMs }) => ` ${fromMs.toFixed(0)} to ${toMs.toFixed(0)}`,
      );
      return `${process} generated from ${atMs.toFixed(0)}${wasBroken ?? ''}, without Redis${away.join(',')}`;
    });
    const logged = requestId === undefined ? [] : (lines.get(requestId) ?? []).slice(-30);
    return [...ofProcess, ...logged.map(({ line }) => line)]
      .map((line) => `    ${line}`)
      .join('\n');
  }

  /** One server at least is neither dead nor stopped. */
  async function breakProcesses(): Promise<void> {
    const random = randomOf(`${plan.seed} processes`);
    const repairs = new Set<Promise<void>>();
    let calmUntil = 0;
    let takeoverUntil = 0;
    while (!state.isOver) {
      await wait(plan.restMs + between(random, 0, 1_000));
      const fault = plan.kinds[between(random, 0, plan.kinds.length - 1)]!;
      const victim = between(random, 0, nodes.length - 1);
      const forMs = between(random, 500, 6_000);
      const mayMeet = random() < 0.3 && plan.faultsMeet;
      if (state.isOver || (processFaults() >= plan.processFaults && faults.cut < plan.faults / 2))
        continue;
      const isOfRedis = fault === 'redis' || fault === 'subscribers';
      // A server takes over only once Redis has answered for 3 s, so not all of its faults meet.
      if (isOfRedis && !mayMeet && performance.now() < takeoverUntil) continue;
      if (fault === 'redis') {
        // Streams of which a server has not told Redis yet are lost with the server.
        if (nodes.some(({ status }) => status !== 'running')) continue;
        redisBrokenAtMs.push(monotonicMs());
        await restartRedis(redis, random);
        redisBrokenAtMs.push(monotonicMs());
        calmUntil = performance.now() + AFTER_REDIS_MS;
      } else if (fault === 'subscribers') {
        redisBrokenAtMs.push(monotonicMs());
        await redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub');
      } else {
        // Most servers end while Redis is well.
        const restMs = (redisBrokenAtMs.at(-1) ?? -Infinity) + STEADY_MS - monotonicMs();
        if (!mayMeet && restMs > 0) await wait(restMs);
        if (state.isOver) continue;
        const node = nodes[victim]!;
        const others = nodes.filter((other) => other !== node && other.status === 'running');
        if (performance.now() < calmUntil || node.status !== 'running' || others.length === 0)
          continue;
        takeoverUntil = performance.now() + TAKEOVER_MS;
        brokenAt.set(node.name, { fault, atMs: monotonicMs() });
        const repair = fault === 'kill' ? kill(node) : stop(node, forMs);
        repairs.add(repair);
      }
      faults[fault] += 1;
      onProgress();
    }
    await Promise.all(repairs);
  }

  async function kill(node: Node): Promise<void> {
    const last = outages.get(node.name)?.at(-1);
    node.peer.kill();
    if (last !== undefined) last.toMs = Math.min(last.toMs, monotonicMs());
    await node.peer.ended();
    await startNode(node);
  }

  async function stop(node: Node, forMs: number): Promise<void> {
    node.status = 'stopped';
    node.peer.signal('SIGSTOP');
    await wait(forMs);
    node.peer.signal('SIGCONT');
    node.status = 'running';
  }

  async function whenEmpty(): Promise<RedisChaosReport['left']> {
    for (const endMs = performance.now() + LEAVE_MS; ;) {
      const all = await Promise.all(
        nodes.map(async ({ peer }) => {
          peer.send({ type: 'stats' });
          const stats = await peer.next(({ type }) => type === 'stats');
          return stats.type === 'stats' ? stats : { active: 0, sockets: 0 };
        }),
      );
      const left = {
        generations: all.reduce((sum, { active }) => sum + active, 0),
        sockets: all.reduce((sum, { sockets }) => sum + sockets, 0),
      };
      if ((left.generations === 0 && left.sockets === 0) || performance.now() > endMs) return left;
      await wait(100);
    }
  }

  function reportOf(
    left: RedisChaosReport['left'],
    { logs, attempts }: { logs: number; attempts: number },
  ): RedisChaosReport {
    const replays = [...grewAt].flatMap(([name, grew]) =>
      replaysOf(links.get(name)!.mishaps, grew),
    );
    return {
      seconds: (performance.now() - startedAt) / 1000,
      faults,
      ...counts,
      logs,
      attempts,
      outageMs: spreadOf(replays.map(({ outageMs }) => outageMs)),
      recoveryMs,
      steps,
      left,
      violations,
    };
  }
}

async function restartRedis(redis: TestRedis, random: Random): Promise<void> {
  await redis.stop();
  await wait(between(random, 0, 1_500));
  await redis.start();
}
