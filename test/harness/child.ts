import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

export interface ChildOptions {
  /** The folder that it starts in; the project's root unless given. */
  cwd?: string;
  /** Added to this process's environment. */
  env?: Record<string, string>;
  /** The line of its stdout that says that it is ready. */
  ready: RegExp;
  /**
   * True if the child leads a process group. Signals then go to the whole group, like a terminal's Ctrl+C.
   */
  group?: boolean;
}

export interface Child {
  /** The line that matched `ready`. */
  match: RegExpMatchArray;
  pid: number;
  /** All that it has written so far, stdout and stderr as they came. */
  output: () => string;
  /** Ends it, by SIGTERM unless told and by SIGKILL after 15 s. Its exit code, or the signal that ended it. */
  stop: (signal?: NodeJS.Signals) => Promise<number | NodeJS.Signals | null>;
}

const READY_MS = 50_000;
const STOP_MS = 15_000;
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

type Kill = (signal: NodeJS.Signals) => void;

const running = new Set<Kill>();
process.once('exit', () => {
  for (const kill of running) kill('SIGKILL');
});

/**
 * Starts a process. Rejects with its output when it ends before a line
 * matches `ready`, or when none does in 50 s.
 */
export async function startChild(
  command: string,
  args: readonly string[],
  { cwd = ROOT, env, ready, group = false }: ChildOptions,
): Promise<Child> {
  const child = spawn(command, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: group,
  });
  const kill: Kill = (signal) => {
    if (group && child.pid !== undefined) killGroup(child.pid, signal);
    else child.kill(signal);
  };
  killWhenWeEnd(child, kill);
  const output: string[] = [];
  child.stdout?.setEncoding('utf8').on('data', (text: string) => output.push(text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => output.push(text));
  try {
    const match = await whenReady(child, ready);
    return {
      match,
      pid: child.pid ?? 0,
      output: () => output.join(''),
      stop: (signal = 'SIGTERM') => stop(child, kill, signal),
    };
  } catch (error) {
    kill('SIGKILL');
    const reason = error instanceof Error ? error.message : String(error);
    const name = [command, ...args].join(' ');
    throw new Error(`unable to start \`${name}\`: ${reason}\n${output.join('')}`, { cause: error });
  }
}

function killGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    // Nothing of the group is left.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function killWhenWeEnd(child: ChildProcess, kill: Kill): void {
  running.add(kill);
  child.once('close', () => running.delete(kill));
}

function whenReady(child: ChildProcess, ready: RegExp): Promise<RegExpMatchArray> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not ready in ${READY_MS} ms`)), READY_MS);
    let rest = '';
    child.stdout?.on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const match = line.match(ready);
        if (!match) continue;
        clearTimeout(timer);
        resolve(match);
      }
    });
    child.once('error', reject);
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      reject(new Error(`it ended with ${code ?? signal}`));
    });
  });
}

async function stop(
  child: ChildProcess,
  kill: Kill,
  signal: NodeJS.Signals,
): Promise<number | NodeJS.Signals | null> {
  if (child.exitCode !== null || child.signalCode !== null)
    return child.exitCode ?? child.signalCode;
  const closed = once(child, 'close');
  kill(signal);
  const timer = setTimeout(() => kill('SIGKILL'), STOP_MS);
  await closed;
  clearTimeout(timer);
  return child.exitCode ?? child.signalCode;
}
