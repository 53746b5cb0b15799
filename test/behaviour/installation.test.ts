import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { pack } from '../harness/fresh-app.js';
import { freePort } from '../harness/free-port.js';
import { codeIn } from '../harness/proxies.js';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const IS_ROOT = process.getuid?.() === 0;
/** The user `node` of the official image. */
const NODE_USER = IS_ROOT ? { uid: 1000, gid: 1000 } : {};
/** npm may have to load packages. */
const INSTALL_MS = 240_000;
const SYSTEMD_ANALYZE = '/usr/bin/systemd-analyze';

/** Has `package.json` and `package-lock.json`, whose dependencies are the tarballs. */
let context: string;

beforeAll(async () => {
  context = await mkdtemp(join(tmpdir(), 'rivulet-installation-'));
  chmodSync(context, 0o755);
  await run('npm', ['run', 'build', '--silent'], { cwd: ROOT });
  const dependencies = {
    '@rivulet/protocol': `file:${await pack('protocol', context)}`,
    '@rivulet/server': `file:${await pack('server', context)}`,
  };
  const manifest = { name: 'chat', private: true, type: 'module', dependencies };
  writeFileSync(join(context, 'package.json'), JSON.stringify(manifest));
  const lock = ['install', '--package-lock-only', '--prefer-offline', '--no-audit', '--no-fund'];
  await run('npm', lock, { cwd: context });
}, INSTALL_MS);
afterAll(() => rmSync(context, { recursive: true, force: true }));

interface Instruction {
  name: string;
  rest: string;
}

function instructionsOf(dockerfile: string): Instruction[] {
  return [...dockerfile.replace(/\\\n\s*/g, '').matchAll(/^([A-Z]+) (.*)$/gm)].map(
    ([, name = '', rest = '']) => ({ name, rest }),
  );
}

/** Carries out the instructions that change files. @returns the folder that they leave. */
async function buildImage(instructions: readonly Instruction[]): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'rivulet-image-'));
  chmodSync(root, 0o755);
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  let folder = root;
  for (const { name, rest } of instructions) {
    if (name === 'WORKDIR') mkdirSync((folder = join(root, rest)), { recursive: true });
    if (name === 'COPY') {
      const [to = '', ...from] = rest.split(' ').toReversed();
      const files = from.flatMap((source) =>
        source === '*.tgz' ? readdirSync(context).filter((each) => each.endsWith('.tgz')) : source,
      );
      for (const file of files) copyFileSync(join(context, file), join(folder, to, file));
    }
    if (name === 'RUN') await run('sh', ['-c', rest], { cwd: folder });
  }
  return folder;
}

/** Starts a server, and resolves once it is healthy. It is killed when the test ends. */
async function start(
  [command = '', ...args]: readonly string[],
  options: { cwd: string; env: Record<string, string>; uid?: number; gid?: number },
) {
  const port = await freePort();
  const child = spawn(command.replace(/^.*\bnode$/, process.execPath), args, {
    ...options,
    env: { PATH: process.env['PATH'] ?? '', ...options.env, PORT: `${port}` },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = exitOf(child);
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  const url = `http://127.0.0.1:${port}`;
  const healthy = vi.waitFor(async () => {
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
  }, 20_000);
  return { child, exited, healthy, port, url };
}

async function exitOf(child: ChildProcess): Promise<number | NodeJS.Signals> {
  child.stdout?.resume();
  child.stderr?.resume();
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  return code ?? signal ?? 0;
}

describe('the Dockerfile of the documentation', () => {
  it(
    'gives a server that does not run as root, is checked for health and ends on SIGTERM',
    async () => {
      const [dockerfile = ''] = codeIn('deployment.md', 'dockerfile');
      const instructions = instructionsOf(dockerfile);
      const last = (name: string): string =>
        instructions.findLast((each) => each.name === name)?.rest ?? '';
      expect(last('FROM')).toMatch(/^node:2[0-9]-slim$/);
      expect(last('USER')).toBe('node');
      expect(last('EXPOSE')).toBe('3000');

      const cwd = await buildImage(instructions);
      const settings = last('ENV')
        .split(' ')
        .map((each) => each.split('=') as [string, string]);
      const env = Object.fromEntries(settings);
      const command = JSON.parse(last('CMD')) as string[];
      const { child, exited, healthy, port, url } = await start(command, {
        cwd,
        env,
        ...NODE_USER,
      });
      await healthy;
      // A port of a container is reached by another address than 127.0.0.1.
      expect((await fetch(`http://127.0.0.2:${port}/healthz`)).status).toBe(200);
      const check = JSON.parse(last('HEALTHCHECK').replace(/^.*?CMD /, '')) as string[];
      const checkHealth = () =>
        spawnSync(process.execPath, check.slice(1), { env: { PORT: `${port}` } }).status;
      expect(checkHealth()).toBe(0);
      expect((await fetch(`${url}/readyz`)).status).toBe(200);
      child.kill('SIGTERM');
      expect(await exited).toBe(0);
      expect(checkHealth()).toBe(1);
      const docs = join(cwd, 'node_modules/@rivulet/server/docs');
      expect(readdirSync(docs)).toContain('grafana-dashboard.json');
    },
    INSTALL_MS,
  );
});

describe('the systemd unit of the documentation', () => {
  const [unit = ''] = codeIn('deployment.md', 'ini');
  const valuesOf = (key: string): string[] =>
    [...unit.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, value = '']) => value);

  /** Starts the service as systemd does, with or without the credential. */
  async function startService(hasCredential = true) {
    const cwd = join(context, 'service');
    mkdirSync(cwd, { recursive: true });
    if (!existsSync(join(cwd, 'node_modules'))) {
      for (const file of ['package.json', 'package-lock.json']) {
        copyFileSync(join(context, file), join(cwd, file));
      }
      await run('npm', ['ci', '--omit=dev', '--prefer-offline', '--no-audit'], { cwd });
    }
    const credentials = await mkdtemp(join(tmpdir(), 'rivulet-credentials-'));
    onTestFinished(() => rmSync(credentials, { recursive: true, force: true }));
    const [name = ''] = valuesOf('LoadCredential')[0]?.split(':') ?? [];
    if (hasCredential) writeFileSync(join(credentials, name), 'a-key-that-nobody-has\n');
    const settings = valuesOf('Environment').flatMap((line) => line.split(' '));
    const env = Object.fromEntries(
      settings.map((each) => each.replace('%d', credentials).split('=') as [string, string]),
    );
    const [command = ''] = valuesOf('ExecStart');
    return start(command.replaceAll(valuesOf('WorkingDirectory')[0]!, cwd).split(' '), {
      cwd,
      env,
    });
  }

  it.runIf(existsSync(SYSTEMD_ANALYZE))('is one that systemd understands', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'rivulet-unit-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const file = join(folder, 'rivulet.service');
    writeFileSync(file, unit.replace(/^ExecStart=\S+/m, `ExecStart=${process.execPath}`));
    const { stderr } = spawnSync(SYSTEMD_ANALYZE, ['verify', file], { encoding: 'utf8' });
    expect(stderr.split('\n').filter((line) => line.includes('rivulet.service'))).toEqual([]);
  });

  it(
    'ends without a restart on SIGTERM, within the time that it has',
    async () => {
      const { child, exited, healthy } = await startService();
      await healthy;
      child.kill(valuesOf('KillSignal')[0] as NodeJS.Signals);
      expect(await exited).toBe(0);
      expect(valuesOf('Restart')).toEqual(['on-failure']);
      // DRAIN_SECONDS is 20 by default.
      expect(Number(valuesOf('TimeoutStopSec')[0])).toBeGreaterThanOrEqual(25);
      const heapMiB = Number(/--max-old-space-size=(\d+)/.exec(unit)?.[1]);
      expect(Number.parseInt(valuesOf('MemoryMax')[0]!, 10)).toBeGreaterThan(heapMiB);
    },
    INSTALL_MS,
  );

  it('starts again after a crash', { timeout: INSTALL_MS }, async () => {
    const { child, exited, healthy } = await startService();
    await healthy;
    child.kill('SIGKILL');
    expect(await exited).toBe('SIGKILL');
    await (
      await startService()
    ).healthy;
  });

  it('is not started again with a wrong setting', async () => {
    const { exited, healthy } = await startService(false);
    healthy.catch(() => {});
    expect(await exited).toBe(Number(valuesOf('RestartPreventExitStatus')[0]));
  });
});
