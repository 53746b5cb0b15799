import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { EVENT } from '@rivulet/protocol';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { type Child, startChild } from '../harness/child.js';
import { type RunningFake, startFake } from '../harness/fakes.js';
import { collect, connect, next } from '../harness/plain-client.js';

const CLI = ['--conditions=@rivulet/source', '--import', 'tsx', 'packages/server/src/cli.ts'];
const READY = /^rivulet: (\S+)/;

async function fakeModel(): Promise<RunningFake> {
  const fake = await startFake('ollama');
  onTestFinished(() => fake.stop());
  return fake;
}

const asksFake = ({ url }: RunningFake): Record<string, string> => ({
  PORT: '0',
  LLM_MODE: 'local',
  OLLAMA_HOST: url,
  OLLAMA_MODEL: 'llama3.2',
});

/** `npm run server` with `shell` between npm and node: dash stays there, and bash is replaced by node. */
async function npmRunServer(shell: string, env: Record<string, string>): Promise<Child> {
  const args = ['run', 'server', `--script-shell=${shell}`];
  const child = await startChild('npm', args, { env, ready: READY, group: true });
  onTestFinished(() => {
    if (isRunning(-child.pid)) process.kill(-child.pid, 'SIGKILL');
  });
  return child;
}

/** @param pid negative for a process group. */
function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** Asks, and waits for the first text. */
async function ask(url: string, query: string) {
  const socket = connect(url);
  const answer = collect(socket);
  const text = next(socket, EVENT.chunk);
  const closing = next(socket, EVENT.closing);
  socket.emit(EVENT.start, { query });
  await text;
  return { socket, answer, closing };
}

const SHELLS = ['sh', 'bash'];
const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;
/** npm passes these on. SIGHUP ends npm. */
const PASSED_ON = ['SIGTERM', 'SIGINT'] as const;

describe('a server that npm started', () => {
  it.each(SHELLS)(
    'drains, and leaves no process, when npm alone gets SIGTERM (%s)',
    async (shell) => {
      const child = await npmRunServer(shell, { PORT: '0', LLM_MODE: 'docs' });
      const { answer } = await ask(child.match[1]!, 'What is an offset?');
      process.kill(child.pid, 'SIGTERM');
      const { text, terminal } = await answer;
      expect(terminal).toMatchObject({ type: EVENT.end, total_length: text.length });
      await expect.poll(() => isRunning(-child.pid)).toBe(false);
    },
  );

  it.each(SHELLS.flatMap((shell) => PASSED_ON.map((signal) => [signal, shell] as const)))(
    'drains once when its whole process group gets %s (%s)',
    async (signal, shell) => {
      const child = await npmRunServer(shell, { PORT: '0', LLM_MODE: 'docs' });
      const { answer } = await ask(child.match[1]!, 'What is an offset?');
      process.kill(-child.pid, signal);
      const { text, terminal } = await answer;
      expect(terminal).toMatchObject({ type: EVENT.end, total_length: text.length });
      await expect.poll(() => isRunning(-child.pid)).toBe(false);
    },
  );

  it.each(PASSED_ON)('ends at once on a later %s', async (signal) => {
    const child = await npmRunServer('bash', asksFake(await fakeModel()));
    const { socket, closing } = await ask(child.match[1]!, 'stall');
    const disconnected = next(socket, 'disconnect');
    process.kill(-child.pid, signal);
    await closing;
    await expect
      .poll(() => {
        if (isRunning(-child.pid)) process.kill(-child.pid, signal);
        return isRunning(-child.pid);
      })
      .toBe(false);
    await disconnected;
  });
});

describe('a server that npm did not start', () => {
  it.each(SIGNALS)('drains on %s, and ends at once on a second one', async (signal) => {
    const child = await startChild(process.execPath, CLI, {
      env: { ...asksFake(await fakeModel()), npm_lifecycle_event: '' },
      ready: READY,
    });
    const { closing } = await ask(child.match[1]!, 'stall');
    process.kill(child.pid, signal);
    await closing;
    expect(await child.stop(signal)).toBe(1);
  });

  it.each(SIGNALS)('exits with 0, and says so, on %s during its start', async (signal) => {
    // The start waits for Redis.
    const silent = createServer().listen(0, '127.0.0.1');
    onTestFinished(() => void silent.close());
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    const child = spawn(process.execPath, CLI, {
      env: {
        ...process.env,
        PORT: '0',
        LLM_MODE: 'docs',
        REDIS_URL: `redis://127.0.0.1:${port}`,
        npm_lifecycle_event: '',
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    let output = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
    const closed = once(child, 'close');
    await vi.waitFor(() => expect(output).toContain('SERVER_STARTING'), 30_000);
    child.kill(signal);
    expect(await closed).toEqual([0, null]);
    const events = output.trim().split('\n');
    expect(JSON.parse(events.at(-1)!)).toMatchObject({
      event: 'SERVER_EXIT',
      exitCode: 0,
      reason: signal,
    });
    expect(output).not.toContain('SERVER_READY');
  });

  it('outlives its parent', async () => {
    const server = await orphan({ npm_lifecycle_event: '' });
    const ofNpm = await orphan({ npm_lifecycle_event: 'server' });
    await expect.poll(() => isRunning(ofNpm.pid)).toBe(false);
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
  });
});

/** A server whose parent, a shell, exits once the server is ready. */
async function orphan(env: Record<string, string>): Promise<{ pid: number; url: string }> {
  const script = `"$0" "$@" & echo "pid $!"; read -r line`;
  const shell = spawn('sh', ['-c', script, process.execPath, ...CLI], {
    env: { ...process.env, PORT: '0', LLM_MODE: 'docs', ...env },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const [output, pid, url] = await new Promise<RegExpMatchArray>((resolve) => {
    let text = '';
    shell.stdout.setEncoding('utf8').on('data', (more: string) => {
      const found = (text += more).match(/^pid (\d+)\n[^]*rivulet: (\S+)/);
      if (found) resolve(found);
    });
  });
  expect(output).not.toBe('');
  onTestFinished(() => {
    if (isRunning(Number(pid))) process.kill(Number(pid), 'SIGKILL');
  });
  shell.stdin.end('exit\n');
  return { pid: Number(pid), url: url! };
}
