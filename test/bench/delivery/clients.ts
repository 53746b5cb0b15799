import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { EVENT, type ShortChunk, type StreamChunkMessage } from '@rivulet/protocol';
import { io, type Socket } from 'socket.io-client';
import { latenciesOf } from './script.js';
import type { FromClients, ToClients } from './talk.js';

// A process with many sockets in it, which do all the same.

const sockets: { socket: Socket; browser: string }[] = [];
const say = (message: FromClients): void => void process.send?.(message);

async function connect(message: Extract<ToClients, { type: 'connect' }>): Promise<void> {
  let browser = '';
  for (let n = 0; n < message.sockets; n++) {
    if (n % message.socketsPerBrowser === 0) browser = randomUUID();
    const socket = io(message.url, {
      auth: { browser_id: browser },
      forceNew: true,
      transports: ['websocket'],
      reconnection: false,
    });
    // One by one: a flood of handshakes is another measure.
    await new Promise<void>((resolve) => socket.once('connect', () => resolve()));
    sockets.push({ socket, browser });
  }
}

async function ask(message: Extract<ToClients, { type: 'ask' }>): Promise<void> {
  const { side, windowUnits, shared } = message;
  const latenciesMs: number[] = [];
  let tokens = 0;
  const ended = sockets.map(async ({ socket, browser }) => {
    const stream_id = shared ? `of ${browser}` : randomUUID();
    const query = `${message.query} ${stream_id}`;
    let acked = 0;
    const take = (offset: number, text: string): void => {
      const latencies = latenciesOf(text);
      tokens += latencies.length;
      latenciesMs.push(...latencies);
      const has = offset + text.length;
      if (windowUnits === undefined || has - acked < windowUnits / 4) return;
      acked = has;
      socket.emit(EVENT.ack, { stream_id, offset: has });
    };
    socket.on(EVENT.shortChunk, (...[, offset, text]: ShortChunk) => take(offset, text));
    socket.on(EVENT.chunk, ({ offset, data }: StreamChunkMessage) => take(offset, data));
    const end = new Promise((resolve) => socket.once(EVENT.end, resolve));
    const start = { stream_id, query, ...(windowUnits !== undefined && { window: windowUnits }) };
    if (side === 'floor') socket.emit(EVENT.start, start);
    else await socket.emitWithAck(EVENT.start, start);
    return { end, socket };
  });
  const opened = await Promise.all(ended);
  say({ type: 'opened' });
  await Promise.all(opened.map(({ end }) => end));
  for (const { socket } of opened) socket.off(EVENT.shortChunk).off(EVENT.chunk);
  say({ type: 'ended', tokens, latenciesMs });
}

/** The bytes stay in the kernel, and in time at the server. */
function pause(): void {
  for (const { socket } of sockets) {
    const { ws } = socket.io.engine.transport as unknown as { ws: { pause(): void } };
    ws.pause();
  }
}

process.on('message', (message: ToClients) => {
  switch (message.type) {
    case 'connect':
      void connect(message).then(() => say({ type: 'connected' }));
      break;
    case 'ask':
      void ask(message);
      break;
    case 'pause':
      pause();
      say({ type: 'paused' });
      break;
    case 'close':
      for (const { socket } of sockets) socket.disconnect();
      process.disconnect();
  }
});
await once(process, 'disconnect');
process.exit();
