import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { EVENT } from '@rivulet/protocol';
import { questionOf, mockProvider } from '@rivulet/server';
import { describe, expect, it } from 'vitest';
import { connect, next } from '../harness/plain-client.js';
import { startServer } from '../harness/rivulet.js';

const STREAMS = 200;
const SOCKETS = 20;
const ANSWER_BYTES = 200_000;
const PATIENT = { timeout: 15_000, interval: 200 };

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

function heapBytes(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

/** Long answers, each one its own. */
const provider = mockProvider((prompt) => [
  { text: questionOf(prompt).padEnd(ANSWER_BYTES, 'x') },
  { finish: 'stop' },
]);

describe('streams that came and went', () => {
  it('leave no log, timer, listener or socket behind', async () => {
    const { http, url } = await startServer(provider, {
      limits: { finishedRetentionMs: 1_000 },
      env: { RATE_LIMIT_REQUESTS: '10000', LLM_CACHE_ENABLED: 'false' },
    });
    const resources = process.getActiveResourcesInfo().toSorted();
    const listeners = http.eventNames().map((name) => http.listenerCount(name));
    const before = heapBytes();

    const sockets = Array.from({ length: SOCKETS }, (_, i) =>
      connect(url, { browser_id: `the-browser-of-visitor-${i}` }),
    );
    for (let round = 0; round < STREAMS / SOCKETS; round++) {
      await Promise.all(
        sockets.map(async (socket, i) => {
          const ended = next(socket, EVENT.end);
          await socket.emitWithAck(EVENT.start, { query: `${round} of ${i}` });
          await ended;
        }),
      );
    }
    for (const socket of sockets) socket.disconnect();

    const countSockets = (): Promise<number> =>
      new Promise((resolve) => http.getConnections((_, count) => resolve(count)));
    await expect.poll(countSockets, PATIENT).toBe(0);
    // All the logs would be ten times that.
    const bound = (STREAMS * ANSWER_BYTES) / 10;
    await expect.poll(() => heapBytes() - before, PATIENT).toBeLessThan(bound);
    await expect
      .poll(() => process.getActiveResourcesInfo().toSorted(), PATIENT)
      .toEqual(resources);
    expect(http.eventNames().map((name) => http.listenerCount(name))).toEqual(listeners);
  });
});
