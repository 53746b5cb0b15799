import type { ClientCommands } from './processes/clients.js';
import { type Remote, startRemote } from './processes/remote.js';
import type { ServerCommands } from './processes/server.js';
import type { ModelCommands } from './processes/model.js';
import type { Model, ServeOptions, StackName } from './stacks/stack.js';
import type { StreamRequest } from './tokens/upstream.js';

/** The CPU time and memory of both processes, and the work of the upstream, during a measurement. */
export interface Used {
  seconds: number;
  /** Microseconds. */
  serverCpu: number;
  clientCpu: number;
  /** Parts of the time in which the event loop was not idle. */
  serverBusy: number;
  clientBusy: number;
  /** Tokens that the upstream yielded. */
  emitted: number;
}

/** A stack's server and its clients, each in a process of its own. */
export interface Session {
  readonly stack: StackName;
  readonly server: Remote<ServerCommands>;
  readonly clients: Remote<ClientCommands>;
  readonly pids: readonly number[];
  connect(count: number): Promise<void>;
  /** Lets both processes compile what they run often, and their heaps grow. */
  warm(tokens: number): Promise<void>;
  measure(work: () => Promise<unknown>): Promise<Used>;
  stop(): Promise<void>;
}

export interface ProfilePaths {
  server: string;
  clients: string;
}

export interface SessionOptions {
  serve?: Omit<ServeOptions, 'tokens' | 'model'>;
  api?: Model['api'];
  /** The folder for CPU profiles of the two processes during a measurement. */
  profilePaths?: ProfilePaths | undefined;
}

export async function startSession(
  stack: StackName,
  { serve = {}, api, profilePaths }: SessionOptions,
): Promise<Session> {
  const [server, clients, model] = await Promise.all([
    startRemote<ServerCommands>('./server.ts', [stack]),
    startRemote<ClientCommands>('./clients.ts', [stack]),
    api && startRemote<ModelCommands>('./model.ts', []),
  ]);
  const remotes: Remote<unknown>[] = [server, clients, ...(model ? [model] : [])];
  const upstream = api && model && { api, url: await model.call('serve') };
  const url = `http://127.0.0.1:${await server.call('serve', { ...serve, model: upstream })}`;
  const connect = (count: number): Promise<void> =>
    clients.call('connect', url, count, { oneUser: serve.oneUser === true });
  const usages = () => Promise.all([server.call('usage'), clients.call('usage')]);

  return {
    stack,
    server,
    clients,
    pids: remotes.map(({ pid }) => pid),
    connect,
    async warm(tokens) {
      await connect(1);
      await clients.call('run', [requestOf({ id: -1, tokens, burst: 16 })], 20_000);
      await clients.call('disconnect');
    },
    async measure(work) {
      if (profilePaths !== undefined)
        await Promise.all([server.call('startProfile'), clients.call('startProfile')]);
      const [serverBefore, clientsBefore] = await usages();
      await work();
      const [serverAfter, clientsAfter] = await usages();
      if (profilePaths !== undefined)
        await Promise.all([
          server.call('stopProfile', profilePaths.server),
          clients.call('stopProfile', profilePaths.clients),
        ]);
      const ms = serverAfter.atMs - serverBefore.atMs;
      return {
        seconds: ms / 1000,
        serverCpu: serverAfter.cpuMicros - serverBefore.cpuMicros,
        clientCpu: clientsAfter.cpuMicros - clientsBefore.cpuMicros,
        serverBusy: (serverAfter.activeMs - serverBefore.activeMs) / ms,
        clientBusy: (clientsAfter.activeMs - clientsBefore.activeMs) / ms,
        emitted: serverAfter.emitted - serverBefore.emitted,
      };
    },
    async stop() {
      await Promise.all(remotes.map((remote) => remote.kill()));
    },
  };
}

/** As fast as possible, token by token, unless `fields` says otherwise. */
export function requestOf(
  fields: Partial<StreamRequest> & { id: number; tokens: number },
): StreamRequest {
  return { firstMs: 0, everyMs: 0, burst: 1, timed: false, watched: false, ...fields };
}
