import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

// Calls of functions in a process of ours, by messages.

type Command = (...args: never[]) => unknown;
type Arguments<F> = F extends (...args: infer A) => unknown ? A : never;
type Result<F> = F extends (...args: never[]) => infer R ? Awaited<R> : never;

/** A process that answers the commands of `C`. */
export interface Remote<C> {
  readonly pid: number;
  /** Rejects if the command throws, the process ends, or nothing comes for two minutes. */
  call<K extends keyof C & string>(name: K, ...args: Arguments<C[K]>): Promise<Result<C[K]>>;
  /** Stops the process where it is, until it is killed. */
  freeze(): void;
  kill(): Promise<void>;
}

interface Call {
  id: number;
  name: string;
  args: unknown[];
}

type Reply = { id: number; result: unknown } | { id: number; error: string };

const CALL_MS = 120_000;
const children = new Set<ChildProcess>();
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));

/** Starts a TypeScript file of this folder, which calls `answerCalls`. */
export async function startRemote<C>(file: string, args: readonly string[]): Promise<Remote<C>> {
  const child = fork(fileURLToPath(new URL(file, import.meta.url)), args, {
    serialization: 'advanced',
    execArgv: ['--import', 'tsx', '--expose-gc'],
  });
  children.add(child);
  const pending = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  const exited = once(child, 'exit');
  child.once('exit', () => {
    children.delete(child);
    for (const { reject } of pending.values()) reject(new Error(`${file} ${args[0]} has ended`));
  });
  child.on('message', (reply: Reply) => {
    const call = pending.get(reply.id);
    pending.delete(reply.id);
    if ('error' in reply) call?.reject(new Error(reply.error));
    else call?.resolve(reply.result);
  });
  let calls = 0;
  const call = (name: string, ...values: unknown[]): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const id = calls++;
      const timer = setTimeout(
        () => reject(new Error(`${file} ${args[0]} does not answer to ${name}`)),
        CALL_MS,
      );
      const settle = (): void => clearTimeout(timer);
      pending.set(id, {
        resolve: (value) => (settle(), resolve(value)),
        reject: (error) => (settle(), reject(error)),
      });
      child.send({ id, name, args: values } satisfies Call);
    });
  await call('ping');
  return {
    pid: child.pid!,
    call: call as Remote<C>['call'],
    freeze: () => void child.kill('SIGSTOP'),
    async kill() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

/** Answers the calls of the process that started this one; ends with it. */
export function answerCalls(commands: Record<string, Command>): void {
  const replyTo = async ({ id, name, args }: Call): Promise<Reply> => {
    try {
      const result = name === 'ping' ? undefined : await commands[name]!(...(args as never[]));
      return { id, result };
    } catch (error) {
      return { id, error: error instanceof Error ? String(error.stack) : String(error) };
    }
  };
  process.on('disconnect', () => process.exit());
  process.on('message', (call: Call) => {
    void replyTo(call).then((reply) => process.send?.(reply));
  });
}
