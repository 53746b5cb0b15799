import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** A process of ours that is spoken to by messages. */
export interface Peer<In, Out> {
  send(message: In): void;
  onMessage(listener: (message: Out) => void): void;
  /** The next message for which `matches` is true. */
  next(matches: (message: Out) => boolean): Promise<Out>;
  /** Waits until it ended by itself, and ends it after 5 s. */
  ended(): Promise<void>;
  kill(): void;
  signal(name: NodeJS.Signals): void;
}

const END_MS = 5_000;

/** Starts a TypeScript file of ours; it can collect garbage. */
export function startPeer<In extends object, Out>(
  file: URL,
  args: readonly string[] = [],
): Peer<In, Out> {
  const child: ChildProcess = fork(fileURLToPath(file), args, {
    execArgv: ['--conditions=@rivulet/source', '--import', 'tsx', '--expose-gc'],
  });
  const onMessage = (listener: (message: Out) => void): void => {
    child.on('message', (message) => listener(message as Out));
  };
  return {
    send: (message) => void child.send(message),
    onMessage,
    next: (matches) =>
      new Promise((resolve, reject) => {
        const exited = (code: number | null): void => {
          reject(new Error(`unable to hear from ${file.pathname}: it ended with ${code}`));
        };
        const listen = (message: unknown): void => {
          if (!matches(message as Out)) return;
          child.off('message', listen);
          child.off('exit', exited);
          resolve(message as Out);
        };
        child.once('exit', exited);
        child.on('message', listen);
      }),
    async ended() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const timer = setTimeout(() => child.kill('SIGKILL'), END_MS);
      await once(child, 'exit');
      clearTimeout(timer);
    },
    kill: () => void child.kill('SIGKILL'),
    signal: (name) => void child.kill(name),
  };
}
