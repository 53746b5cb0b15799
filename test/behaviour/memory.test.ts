import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { EVENT, type ShortChunk } from '@rivulet/protocol';
import { io, type Socket } from 'socket.io-client';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startChild } from '../harness/child.js';
import { startAttack } from '../harness/memory/hostile.js';
import { exactText } from '../harness/memory/script.js';
import { collect } from '../harness/plain-client.js';

const MIB = 1024 * 1024;
const HEAP_MIB = 512;
/** The heap, what is outside it, and the program itself. */
const MAX_RSS = 700 * MIB;
/** The memory budget and the cache are full, answers are being made, and connections are open. */
const MAX_HELD = 224 * MIB;
/** The memory budget and the cache may still be full: finished streams can be read for a while. */
const MAX_LEFT = 128 * MIB;
/** The server learns by its ping timeout (45 s) that a client which polls is gone. */
const CLOSED_WITHIN_MS = 60_000;
const SECONDS = Number(process.env['MEMORY_SECONDS'] ?? 20);
/** The attack goes on for this long if a reader has too few answers after `SECONDS`. */
const MORE_SECONDS = 40;
/** The number of exact answers that each reader must have got. */
const MIN_ANSWERS = SECONDS / 10 + 1;
/** One principal may start 30 streams in a minute. */
const ANSWERS_PER_PRINCIPAL = 25;
const WINDOW = 8_192;
const COMPLETE = { type: EVENT.end, complete: true };

/** The server may be slow to close an idle connection that another request then takes. */
const FRESH = { headers: { connection: 'close' } };

type Usage = NodeJS.MemoryUsage;

async function startServer(): Promise<{ url: string; usage: (query?: string) => Promise<Usage> }> {
  const { match, stop } = await startChild(
    process.execPath,
    [
      `--max-old-space-size=${HEAP_MIB}`,
      '--expose-gc',
      '--conditions=@rivulet/source',
      '--import',
      'tsx',
      'test/harness/memory/server.ts',
    ],
    { ready: /^listening at (.+)$/ },
  );
  onTestFinished(() => void stop());
  const url = match[1]!;
  return {
    url,
    usage: async (query = '') =>
      (await fetch(`${url}/memory${query}`, FRESH)).json() as Promise<Usage>,
  };
}

const heldBy = ({ heapUsed, external }: Usage): number => heapUsed + external;

/** A reader with a window, which acknowledges as it reads. */
async function readInWindow(socket: Socket, query: string): Promise<string> {
  const stream_id = randomUUID();
  let text = '';
  let acked = 0;
  const take = (...[, offset, data]: ShortChunk): void => {
    text += data;
    const has = offset + data.length;
    if (has - acked < WINDOW / 2) return;
    acked = has;
    socket.emit(EVENT.ack, { stream_id, offset: has });
  };
  socket.on(EVENT.shortChunk, take);
  const last = new Promise<unknown>((resolve) => {
    socket.once(EVENT.end, resolve);
    socket.once(EVENT.error, resolve);
  });
  const reply = await socket.emitWithAck(EVENT.start, { query, stream_id, window: WINDOW });
  expect(reply).toMatchObject({ ok: true });
  expect(await last).toMatchObject(COMPLETE);
  socket.off(EVENT.shortChunk, take);
  return text;
}

async function readPlain(socket: Socket, query: string): Promise<string> {
  const collected = collect(socket);
  expect(await socket.emitWithAck(EVENT.start, { query })).toMatchObject({ ok: true });
  const { text, terminal } = await collected;
  expect(terminal).toMatchObject(COMPLETE);
  return text;
}

/** Asks one question after another until the attack is over. Reports the number of exact answers. */
async function askOn(
  url: string,
  localAddress: string,
  isOver: () => boolean,
  report: (answers: number) => void,
): Promise<void> {
  let answers = 0;
  while (!isOver()) {
    const local = { localAddress } as object;
    const socket = io(url, {
      ...local,
      auth: { browser_id: randomUUID() },
      forceNew: true,
      transports: ['websocket'],
    });
    for (let i = 0; i < ANSWERS_PER_PRINCIPAL && !isOver(); i++) {
      const seed = 1 + answers;
      const read = seed % 2 === 0 ? readPlain : readInWindow;
      expect(await read(socket, `exact ${seed} ${randomUUID()}`)).toBe(exactText(seed));
      answers += 1;
      report(answers);
      await wait(250);
    }
    socket.disconnect();
  }
}

describe('a server without a limit of its own, in 512 MiB of heap', () => {
  it(
    'outlives hostile clients, and meanwhile answers others exactly',
    async () => {
      const { url, usage } = await startServer();
      const before = heldBy(await usage('?gc'));
      const attack = startAttack(url);
      let isOver = false;
      const answers = [0, 0];
      const others = ['127.0.0.2', '127.0.0.3'].map((address, i) => {
        const report = (count: number): void => void (answers[i] = count);
        return askOn(url, address, () => isOver, report);
      });

      const peak = { rss: 0, held: 0 };
      const startedAt = performance.now();
      const goesOn = (): boolean => {
        const hasEnough = answers.every((count) => count >= MIN_ANSWERS);
        const seconds = hasEnough ? SECONDS : SECONDS + MORE_SECONDS;
        return performance.now() - startedAt < seconds * 1000;
      };
      while (goesOn()) {
        const now = await usage();
        peak.rss = Math.max(peak.rss, now.rss);
        peak.held = Math.max(peak.held, heldBy(now));
        await Promise.race([wait(500), Promise.all(others)]);
      }
      isOver = true;
      await Promise.all(others);
      const during = await usage('?gc');
      await attack.stop();
      let after = await usage('?gc');
      const until = performance.now() + CLOSED_WITHIN_MS;
      while (heldBy(after) - before > MAX_LEFT && performance.now() < until) {
        await wait(1_000);
        after = await usage('?gc');
      }
      const figures = { ...peak, before, during: heldBy(during), after: heldBy(after) };
      if (process.env['MEMORY_SECONDS'] !== undefined) console.log(figures, answers, attack.counts);
      expect(peak.rss).toBeLessThan(MAX_RSS);
      expect(heldBy(during) - before).toBeLessThan(MAX_HELD);
      expect(heldBy(after) - before).toBeLessThan(MAX_LEFT);
      for (const count of answers) expect(count).toBeGreaterThanOrEqual(MIN_ANSWERS);
    },
    (SECONDS + MORE_SECONDS + 60) * 1000 + CLOSED_WITHIN_MS,
  );
});
