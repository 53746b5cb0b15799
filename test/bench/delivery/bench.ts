import { type Peer, startPeer } from '../../harness/peer.js';
import type { FromClients, FromServer, ServerFigures, Side, ToClients, ToServer } from './talk.js';

export type Clients = Peer<ToClients, FromClients>;

/** A measured server in a process of its own. */
export interface Measured {
  readonly url: string;
  figures(): Promise<ServerFigures>;
  release(): void;
  stop(): void;
}

export async function startMeasured(side: Side): Promise<Measured> {
  const peer = startPeer<ToServer, FromServer>(new URL('./server.ts', import.meta.url), [side]);
  const listening = await peer.next(({ type }) => type === 'listening');
  return {
    url: listening.type === 'listening' ? listening.url : '',
    async figures() {
      const answer = peer.next(({ type }) => type === 'figures');
      peer.send({ type: 'figures' });
      const message = await answer;
      if (message.type !== 'figures') throw new Error('unable to measure: no figures came');
      return message.figures;
    },
    release: () => peer.send({ type: 'release' }),
    stop: () => peer.kill(),
  };
}

/** `sockets` of them, in a process of their own. */
export async function startClients(
  url: string,
  sockets: number,
  socketsPerBrowser = 1,
): Promise<Clients> {
  const peer = startPeer<ToClients, FromClients>(new URL('./clients.ts', import.meta.url));
  const connected = peer.next(({ type }) => type === 'connected');
  peer.send({ type: 'connect', url, sockets, socketsPerBrowser });
  await connected;
  return peer;
}

export async function ended(clients: Clients): Promise<{ tokens: number; latenciesMs: number[] }> {
  const message = await clients.next(({ type }) => type === 'ended');
  if (message.type !== 'ended') throw new Error('unable to measure: the answers have no end');
  return message;
}

export function percentile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length * part)] ?? NaN;
}

/** Bytes more, a piece: of the heap and what hangs on it, and of the whole process. */
export function growth(before: ServerFigures, after: ServerFigures, pieces: number) {
  return {
    heapKb: (after.heap + after.external - before.heap - before.external) / 1024 / pieces,
    rssKb: (after.rss - before.rss) / 1024 / pieces,
  };
}
