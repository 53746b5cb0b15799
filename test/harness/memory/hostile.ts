import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { connect as connectTcp } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { EVENT } from '@rivulet/protocol';
import { io, type Socket } from 'socket.io-client';

/** Clients that do what costs the server most. Each kind runs until `signal` aborts, and then leaves. */
export interface Attack {
  /** The number of completed attacks of each kind, to check that they reached the server. */
  readonly counts: Record<string, number>;
  stop(): Promise<void>;
}

type Hostile = (attack: Context) => Promise<void>;

interface Context {
  url: string;
  signal: AbortSignal;
  count(what: string): void;
  /** Ends with the attack. */
  keep(close: () => void): void;
  nextAddress(): string;
}

const STREAMS = 30;
const TOKENS = [
  [2_000_000, 1],
  [400_000, 5],
  [10_000, 200],
  [200, 10_000],
] as const;
const MIB = 1024 * 1024;

export function startAttack(url: string): Attack {
  const controller = new AbortController();
  const { signal } = controller;
  const counts: Record<string, number> = {};
  const closers: (() => void)[] = [];
  let addresses = 0;
  const context: Context = {
    url,
    signal,
    count: (what) => void (counts[what] = (counts[what] ?? 0) + 1),
    keep: (close) => void closers.push(close),
    // Each address may start 300 streams in a minute and hold 560 connections.
    nextAddress: () => `127.0.1.${1 + (addresses++ % 100)}`,
  };
  const kinds = [floods, pollers, churn, cancelStorms, resumers, handshakes, largeRequests];
  const running = kinds.map((kind) =>
    kind(context).catch((error: unknown) => {
      if (!signal.aborted) context.count(`${kind.name} failed: ${String(error)}`);
    }),
  );
  return {
    counts,
    async stop() {
      controller.abort();
      await Promise.all(running);
      for (const close of closers) close();
    },
  };
}

function open(
  { url }: Context,
  address: string,
  auth: Record<string, unknown> = { browser_id: randomUUID() },
): Socket {
  const local = { localAddress: address } as object;
  return io(url, {
    ...local,
    auth,
    forceNew: true,
    transports: ['websocket'],
    reconnection: false,
  });
}

function fill(i: number): string {
  const [count, units] = TOKENS[i % TOKENS.length]!;
  return `fill ${count} ${units} ${randomUUID()}`;
}

/** The bytes stay in the kernel, and in time at the server. */
function pauseTcp(socket: Socket): void {
  const { ws } = socket.io.engine.transport as unknown as { ws: { pause(): void } };
  ws.pause();
}

async function connected(socket: Socket): Promise<boolean> {
  return new Promise((resolve) => {
    socket.once('connect', () => resolve(true));
    socket.once('connect_error', () => resolve(false));
  });
}

/** New principals all the time; each starts streams and reads none. Readers with and without a window. */
const floods: Hostile = async (context) => {
  for (let i = 0; !context.signal.aborted; i++) {
    const socket = open(context, context.nextAddress());
    context.keep(() => socket.disconnect());
    if (!(await connected(socket))) continue;
    const replies: Promise<unknown>[] = [];
    for (let k = 0; k < STREAMS; k++) {
      const window = k % 2 === 0 ? { window: MIB } : {};
      const reply = socket.emitWithAck(EVENT.start, { query: fill(i), ...window });
      replies.push(reply.then(() => context.count('streams of a flood')));
    }
    await Promise.race([Promise.allSettled(replies), wait(1_000)]);
    pauseTcp(socket);
    await wait(i < 16 ? 50 : 500);
  }
};

/** Starts streams over polling and does not poll. */
const pollers: Hostile = async (context) => {
  for (let i = 0; !context.signal.aborted; i++) {
    const agent = new Agent({ keepAlive: true, localAddress: context.nextAddress() });
    context.keep(() => agent.destroy());
    const path = '/socket.io/?EIO=4&transport=polling';
    const opened = await send(context, agent, 'GET', path);
    const sid = /"sid":"([^"]+)"/.exec(opened)?.[1];
    if (sid === undefined) continue;
    const own = `${path}&sid=${sid}`;
    await send(context, agent, 'POST', own, `40{"browser_id":"${randomUUID()}"}`);
    await send(context, agent, 'GET', own);
    const starts = Array.from({ length: STREAMS }, (_, k) => {
      return `42["${EVENT.start}",${JSON.stringify({ query: fill(i + k) })}]`;
    });
    await send(context, agent, 'POST', own, starts.join('\x1e'));
    context.count('polling');
    await wait(500);
  }
};

async function send(
  { url, signal }: Context,
  agent: Agent,
  method: string,
  path: string,
  body = '',
): Promise<string> {
  const sent = request(`${url}${path}`, { agent, method, signal });
  sent.end(body);
  const [response] = await once(sent, 'response', { signal });
  let text = '';
  for await (const chunk of response) text += chunk;
  return text;
}

/** Connects, starts streams, and is gone. */
const churn: Hostile = async (context) => {
  for (let i = 0; !context.signal.aborted; i++) {
    const socket = open(context, context.nextAddress());
    if (await connected(socket)) {
      for (let k = 0; k < 3; k++) socket.emit(EVENT.start, { query: fill(i + k) });
      await wait(20);
      const { ws } = socket.io.engine.transport as unknown as { ws: { terminate(): void } };
      ws.terminate();
      context.count('abandoned');
    }
    socket.disconnect();
    await wait(50);
  }
};

const cancelStorms: Hostile = async (context) => {
  for (let i = 0; !context.signal.aborted; i++) {
    const socket = open(context, context.nextAddress());
    if (await connected(socket)) {
      for (let k = 0; k < STREAMS; k++) {
        const stream_id = randomUUID();
        socket.emit(EVENT.start, { query: fill(i + k), stream_id, window: 100 });
        socket.emit(EVENT.cancel, { stream_id });
        context.count('cancelled');
      }
      await wait(300);
    }
    socket.disconnect();
  }
};

/** Reads a finished answer again and again, lists in between, and reads no reply. */
const resumers: Hostile = async (context) => {
  while (!context.signal.aborted) {
    const auth = { browser_id: randomUUID() };
    const address = context.nextAddress();
    const sockets = Array.from({ length: 8 }, () => open(context, address, auth));
    context.keep(() => sockets.forEach((socket) => socket.disconnect()));
    const areIn = await Promise.all(sockets.map(connected));
    const stream_id = randomUUID();
    const ended = Promise.race([
      new Promise((resolve) => sockets[0]!.once(EVENT.end, resolve)),
      wait(1_000),
    ]);
    sockets[0]!.emit(EVENT.start, { query: 'fill 1000 1000', stream_id, reader_id: 'the same' });
    await ended;
    for (const [n, socket] of sockets.entries()) {
      if (!areIn[n] || !socket.connected) continue;
      pauseTcp(socket);
      for (let i = 0; i < 30; i++) {
        socket.emit(EVENT.resume, { stream_id, offset: 0, reader_id: `reader ${i % 3}` }, () => {});
        socket.emit(EVENT.list, {}, () => {});
        context.count('resumed');
      }
    }
    await wait(1_000);
  }
};

/** Opens Engine.IO connections and never enters the namespace. */
const handshakes: Hostile = async (context) => {
  const { hostname, port } = new URL(context.url);
  while (!context.signal.aborted) {
    const socket = connectTcp({
      host: hostname,
      port: Number(port),
      localAddress: context.nextAddress(),
    });
    socket.on('error', () => {});
    context.keep(() => socket.destroy());
    const key = Buffer.from(randomUUID()).subarray(0, 16).toString('base64');
    socket.write(
      `GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: ${hostname}:${port}\r\n` +
        `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
    );
    context.count('idle handshakes');
    await wait(20);
  }
};

/** Connections that stay, each with as much as a handshake and a request may carry. */
const largeRequests: Hostile = async (context) => {
  const context131k = [{ role: 'user', content: 'x'.repeat(131_000) }];
  while (!context.signal.aborted) {
    const requests = Array.from({ length: 6 }, () => ({
      query: `fill 100 5 ${'y'.repeat(16_000)}${randomUUID()}`,
      context: context131k,
    }));
    const socket = open(context, context.nextAddress(), { browser_id: randomUUID(), requests });
    context.keep(() => socket.disconnect());
    if (await connected(socket)) context.count('large handshakes');
    await wait(50);
  }
};
