import { createServer as createHttp } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  attachRivulet,
  type Authenticate,
  createLlmService,
  createLogger,
  createServer,
  mockProvider,
} from '@rivulet/server';
import { Server } from 'socket.io';
import { providersOf } from './providers.js';

// A server in a process of its own, whose memory and time a test measures.

export interface Costs {
  rssBytes: number;
  heapBytes: number;
  cpuMs: number;
  authenticateCalls: number;
}

export type FromServer = { type: 'listening'; url: string } | { type: 'costs'; costs: Costs };

/** `own`, or the namespace on a Socket.IO server of the user's. */
const [, , place = 'own'] = process.argv;
const logger = createLogger('silent');
const providers = providersOf(mockProvider(() => [{ stall: true }]));
let authenticateCalls = 0;

const authenticate: Authenticate = ({ token }) => {
  authenticateCalls += 1;
  return { principal: token ?? 'anyone' };
};

async function listen(): Promise<string> {
  if (place === 'own') {
    return (await createServer({ env: {}, port: 0, logger, providers, authenticate })).listen();
  }
  const http = createHttp();
  const io = new Server(http);
  const llm = await createLlmService({ env: {}, logger, providers });
  attachRivulet(io, llm, { logger, namespace: place, authenticate });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
}

const say = (message: FromServer): void => void process.send?.(message);
process.on('message', () => {
  globalThis.gc?.();
  const { rss: rssBytes, heapUsed: heapBytes } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  const cpuMs = (user + system) / 1000;
  say({ type: 'costs', costs: { rssBytes, heapBytes, cpuMs, authenticateCalls } });
});
process.on('disconnect', () => process.exit());
say({ type: 'listening', url: await listen() });
