import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { type Child, startChild } from '../harness/child.js';
import { signal } from '../harness/cluster/cluster.js';
import { type Exposition, parseExposition } from '../harness/exposition.js';
import { startFake } from '../harness/fakes.js';
import { startRedis } from '../harness/redis.js';
import { connected, sdk, snapshotWhen } from '../harness/sdk.js';

const CLI = ['--conditions=@rivulet/source', '--import', 'tsx', 'packages/server/src/cli.ts'];
const ME = { browserId: 'the-browser-of-the-first-visitor' };

interface Workers extends Child {
  readonly url: string;
  /** The newest process of each worker. */
  pids(): number[];
  events(name: string): Record<string, unknown>[];
}

async function startWorkers(
  args: readonly string[],
  env: Record<string, string>,
  group = false,
): Promise<Workers> {
  const child = await startChild(process.execPath, [...CLI, ...args], {
    // Signals that come twice within half a second count once under npm.
    env: { PORT: '0', LLM_MODE: 'docs', npm_lifecycle_event: '', ...env },
    ready: /^rivulet: (\S+)/,
    group,
  });
  const events = (name: string): Record<string, unknown>[] =>
    child
      .output()
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter(({ event }) => event === name);
  const pids = (): number[] => [
    ...new Map(events('WORKER_READY').map(({ worker, pid }) => [worker, Number(pid)])).values(),
  ];
  onTestFinished(async () => {
    await child.stop('SIGKILL');
    for (const pid of pids()) signal(pid, 'SIGKILL');
  });
  return { ...child, url: child.match[1]!, pids, events };
}

/** Workers that ask a model whose answers take about a second, or for ever (`stall`). */
async function withModel(
  count: number,
  env: Record<string, string> = {},
  redis?: { url: string },
  group = false,
) {
  const [model, { url }] = await Promise.all([startFake('ollama'), redis ?? startRedis()]);
  onTestFinished(() => model.stop());
  const settings = { LLM_MODE: 'local', OLLAMA_HOST: model.url, OLLAMA_MODEL: 'llama3.2' };
  return startWorkers(['--workers', `${count}`], { REDIS_URL: url, ...settings, ...env }, group);
}

/** @returns false also for a process that has ended and that nobody waits for. */
function isRunning(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

async function metricsOf({ url }: Workers): Promise<Exposition> {
  return parseExposition(await (await fetch(`${url}/metrics`)).text());
}

/** The worker that generates, once there is one. */
async function ownerIn(workers: Workers): Promise<number> {
  return vi.waitFor(async () => {
    const { samples } = await metricsOf(workers);
    const active = samples.find(({ name, value }) => name === 'llm_stream_active' && value === 1);
    expect(active).toBeDefined();
    return Number(active!.labels['worker']);
  });
}

const MANY_PROCESSES = { timeout: 120_000 };

describe('rivulet-server --workers', MANY_PROCESSES, () => {
  it.each([
    [['--workers', '2'], '--workers needs REDIS_URL'],
    [['--workers', '0'], '--workers is "0"; it must be a whole number from 1 to 256'],
    [['--worker', '2'], "Unknown option '--worker'"],
  ])('refuses %j', async (args, message) => {
    await expect(startWorkers(args, { REDIS_URL: '' })).rejects.toThrow(
      new RegExp(`it ended with 78\n(.|\n)*unable to start: ${message}`),
    );
  });

  it('exits with 1 if the port is in use, which only a worker can find', async () => {
    const { url: REDIS_URL } = await startRedis();
    const inUse = createServer().listen(0, '127.0.0.1');
    onTestFinished(() => void inUse.close());
    await once(inUse, 'listening');
    const PORT = `${(inUse.address() as AddressInfo).port}`;
    await expect(startWorkers(['--workers', '3'], { REDIS_URL, PORT })).rejects.toThrow(
      new RegExp(
        `it ended with 1\n(.|\n)*port ${PORT} is already in use(.|\n)*its reason is above`,
      ),
    );
  });

  it('serves one port by all workers, and replaces those that end', async () => {
    const workers = await withModel(2);

    const clients = Array.from({ length: 4 }, () => sdk(workers.url, ME));
    // One after the other: a worker that is slow to accept is passed over by those that follow.
    for (const client of clients) await connected(client);
    const answer = clients[0]!.start({ query: 'What is a delta?' });
    await snapshotWhen(answer, ({ text }) => text !== '');
    const read = clients.map((client) => client.resume(answer.id).result);
    const { text } = await answer.result;
    for (const result of await Promise.all(read)) expect(result.text).toBe(text);

    for (let i = 0; i < 4; i++) {
      // A worker that is slow to give its metrics is left out.
      await vi.waitFor(async () => {
        const { types, samples } = await metricsOf(workers);
        expect(types.get('llm_stream_connections')).toBe('gauge');
        const connections = samples.filter(({ name }) => name === 'llm_stream_connections');
        expect(connections.map(({ labels, value }) => [labels['worker'], value])).toEqual([
          ['1', 2],
          ['2', 2],
        ]);
        for (const { labels } of samples) expect(labels['worker']).toMatch(/^[12]$/);
      });
    }
    for (let i = 0; i < 3; i++) {
      expect(await (await fetch(`${workers.url}/healthz`)).text()).toBe('up\n');
      expect(await (await fetch(`${workers.url}/readyz`)).text()).toBe('ready\n');
    }

    const stalled = clients[0]!.start({ query: 'stall after a while' });
    await snapshotWhen(stalled, (snapshot) => snapshot.text !== '');
    const owner = await ownerIn(workers);
    for (const [times, restartMs] of [100, 200, 400].entries()) {
      const newest = workers.events('WORKER_READY').findLast(({ worker }) => worker === owner);
      signal(Number(newest!['pid']), 'SIGKILL');
      if (times === 0) await snapshotWhen(stalled, ({ attempt }) => attempt === 101);
      const ready = 2 + times + 1;
      await vi.waitFor(() => expect(workers.events('WORKER_READY')).toHaveLength(ready), 20_000);
      expect(workers.events('WORKER_EXIT').at(-1)).toMatchObject({
        worker: owner,
        signal: 'SIGKILL',
        restartMs,
        level: 50,
      });
    }
    expect(await (await fetch(`${workers.url}/healthz`)).text()).toBe('up\n');
  });

  it('lets answers end when it gets SIGTERM, and exits with 0', async () => {
    const workers = await withModel(2);
    const answer = sdk(workers.url, ME).start({ query: 'What is a delta?' });
    await snapshotWhen(answer, ({ text }) => text !== '');
    const exited = workers.stop('SIGTERM');
    expect(await answer.result).toMatchObject({ status: 'done', attempt: 1 });
    expect(await exited).toBe(0);
    expect(workers.pids().filter(isRunning)).toEqual([]);
    expect(workers.events('WORKER_EXIT')).toMatchObject([{ exitCode: 0 }, { exitCode: 0 }]);
  });

  it('hands over answers that take longer, also when each worker gets the signal, too', async () => {
    const redis = await startRedis();
    const [old, other] = await Promise.all([
      withModel(2, { DRAIN_SECONDS: '1' }, redis, true),
      withModel(1, {}, redis),
    ]);
    const answer = sdk(old.url, ME).start({ query: 'stall after a while' });
    await snapshotWhen(answer, ({ text }) => text !== '');
    const reader = sdk(other.url, ME).resume(answer.id);
    await snapshotWhen(reader, ({ text }) => text !== '');
    expect(await old.stop('SIGTERM')).toBe(0);
    await snapshotWhen(reader, ({ attempt, text }) => attempt === 101 && text !== '');
  });

  it('ends or interrupts all answers where no server is left that takes over', async () => {
    const workers = await withModel(2, { DRAIN_SECONDS: '2', OLLAMA_CONCURRENCY: '10' });
    const queries = ['What is a delta?', 'stall after a while'];
    // Connections go to the workers in turn.
    const answers = Array.from({ length: 6 }, (_, i) =>
      sdk(workers.url, { browserId: `the-browser-of-visitor-${i}` }).start({
        query: `${queries[i % 2]} ${' '.repeat(i)}`,
      }),
    );
    const texts = await Promise.all(
      answers.map(async (answer) => (await snapshotWhen(answer, ({ text }) => text !== '')).text),
    );
    const exited = workers.stop('SIGTERM');
    const ended = await Promise.all(
      answers.map(async (answer) => {
        await answer.result.catch(() => {});
        return answer.getSnapshot();
      }),
    );
    for (const [i, { status, error, text }] of ended.entries()) {
      expect([status, error?.code]).toEqual(
        i % 2 === 0 ? ['done', undefined] : ['failed', 'interrupted'],
      );
      if (i % 2 === 1) expect(error?.message).toMatch(/is shutting down/);
      expect(text.startsWith(texts[i]!)).toBe(true);
    }
    expect(await exited).toBe(0);
    expect(workers.events('WORKER_EXIT')).toMatchObject([{ exitCode: 0 }, { exitCode: 0 }]);
  });

  it('ends at once on a second signal, with all its workers', async () => {
    const workers = await withModel(2);
    const answer = sdk(workers.url, ME).start({ query: 'stall after a while' });
    await snapshotWhen(answer, ({ text }) => text !== '');
    signal(workers.pid, 'SIGTERM');
    await vi.waitFor(() => expect(workers.events('SERVER_DRAINING')).toHaveLength(3));
    expect(await workers.stop('SIGTERM')).toBe(1);
    await vi.waitFor(() => expect(workers.pids().filter(isRunning)).toEqual([]));
  });

  it('leaves no worker when its primary process is killed', async () => {
    const { url } = await startRedis();
    const workers = await startWorkers(['--workers', '2'], { REDIS_URL: url });
    await workers.stop('SIGKILL');
    await vi.waitFor(() => expect(workers.pids().filter(isRunning)).toEqual([]));
  });
});
