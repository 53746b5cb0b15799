import { createClient, type StreamError } from '@rivulet/client';
import { io } from 'socket.io-client';
import { percentile } from '../statistics.js';
import type { FromClients, LoadPlan, LoadResult, ToClients } from './messages.js';

// All clients of one stack.

/** After the last token was due, the clients wait this long for what is under way. */
const LATE_MS = 20_000;
const CHECK_EVERY_MS = 200;

const plan = JSON.parse(process.argv[2] ?? '') as LoadPlan;
const result: LoadResult = {
  delivered: 0,
  lost: 0,
  doubled: 0,
  reordered: 0,
  outageMs: [NaN, NaN],
  replayMs: [NaN, NaN],
};
const outages: number[] = [];
const replays: number[] = [];
let finished = 0;

const say = (message: FromClients): void => void process.send?.(message);

/** Counts what one client gets. */
class Tokens {
  readonly #seen = new Uint8Array(plan.tokens);
  #newest = -1;
  #lostAt: number | undefined;
  #backAt: number | undefined;

  disconnected(): void {
    this.#lostAt ??= performance.now();
    this.#backAt = undefined;
  }

  connected(): void {
    if (this.#lostAt !== undefined) this.#backAt = performance.now();
  }

  take(i: number): void {
    const now = performance.now();
    if (this.#lostAt !== undefined && this.#backAt !== undefined) {
      outages.push(now - this.#lostAt);
      replays.push(now - this.#backAt);
      this.#lostAt = this.#backAt = undefined;
    }
    if (i < this.#newest) result.reordered += 1;
    else this.#newest = i;
    if (this.#seen[i] === 1) result.doubled += 1;
    else result.delivered += 1;
    this.#seen[i] = 1;
    if (i === plan.tokens - 1) finished += 1;
  }
}

function readRivulet(url: string, user: string): void {
  const tokens = new Tokens();
  const client = createClient({ url, cache: false, browserId: user, transports: ['websocket'] });
  client.connection$.subscribe(({ status }) => {
    if (status === 'connected') tokens.connected();
    else if (status === 'reconnecting') tokens.disconnected();
  });
  let rest = '';
  client.start({ query: user, options: { cache: 'no-store' } }).events$.subscribe({
    next(event) {
      if (event.type !== 'text') return;
      const parts = (rest + event.text).split(' ');
      rest = parts.pop() ?? '';
      for (const part of parts) tokens.take(Number(part));
    },
    error({ code, message }: StreamError) {
      throw new Error(`the stream of ${user} has failed with ${code}: ${message}`);
    },
  });
}

function readSocketIo(url: string, user: string): void {
  const tokens = new Tokens();
  const socket = io(url, { auth: { user }, transports: ['websocket'], forceNew: true });
  socket.on('connect', () => tokens.connected());
  socket.on('disconnect', () => tokens.disconnected());
  socket.on('token', (i: number) => tokens.take(i));
}

function readAll(url: string): void {
  const read = plan.stack === 'rivulet' ? readRivulet : readSocketIo;
  for (let i = 0; i < plan.clients; i++) read(url, `the-browser-of-visitor-${i}`);
  const endsAt = performance.now() + plan.tokens * plan.everyMs + LATE_MS;
  const timer = setInterval(() => {
    if (finished < plan.clients && performance.now() < endsAt) return;
    clearInterval(timer);
    result.lost = plan.clients * plan.tokens - result.delivered;
    result.outageMs = [percentile(outages, 0.5), percentile(outages, 0.99)];
    result.replayMs = [percentile(replays, 0.5), percentile(replays, 0.99)];
    say({ type: 'result', result });
  }, CHECK_EVERY_MS);
}

process.on('message', ({ url }: ToClients) => readAll(url));
process.on('disconnect', () => process.exit());
