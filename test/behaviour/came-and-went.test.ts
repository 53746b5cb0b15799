import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type Provider, questionOf } from '@rivulet/server';
import { EVENT } from '@rivulet/protocol';
import { describe, expect, it } from 'vitest';
import { connect, next } from '../harness/plain-client.js';
import { startServer } from '../harness/rivulet.js';

const STREAMS = 400;
const SOCKETS = 20;
const PATIENT = { timeout: 15_000, interval: 200 };

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Answers at once, and knows which of its answers is still held by anyone. */
function countedProvider() {
  const held: WeakRef<AbortSignal>[] = [];
  const provider: Provider = {
    name: 'counted',
    model: 'script',
    async *stream(prompt, signal) {
      held.push(new WeakRef(signal));
      yield { type: 'text', text: questionOf(prompt) };
      yield { type: 'finish', reason: 'stop', usage: {} };
    },
  };
  const heldNow = (): number => {
    collectGarbage();
    return held.filter((answer) => answer.deref() !== undefined).length;
  };
  return { provider, held, heldNow };
}

describe('streams that came and went', () => {
  it('leave no log, timer, listener or socket behind', async () => {
    const { provider, held, heldNow } = countedProvider();
    const { http, url } = await startServer(provider, {
      bounds: { keepFinishedMs: 1_000 },
      env: { RATE_LIMIT_REQUESTS: '10000', LLM_CACHE_ENABLED: 'false' },
    });
    const resources = process.getActiveResourcesInfo().toSorted();
    const listeners = http.eventNames().map((name) => http.listenerCount(name));
    const sockets = Array.from({ length: SOCKETS }, (_, i) =>
      connect(url, { browser_id: `the-browser-of-visitor-${i}` }),
    );
    for (let round = 0; round < STREAMS / SOCKETS; round++) {
      await Promise.all(
        sockets.map(async (socket, i) => {
          const ended = next(socket, EVENT.end);
          await socket.emitWithAck(EVENT.start, { query: `${round} of ${i}`, window: 1_024 });
          await ended;
        }),
      );
    }
    expect(held).toHaveLength(STREAMS);
    for (const socket of sockets) socket.disconnect();
    const countSockets = async (): Promise<number> =>
      new Promise((resolve) => http.getConnections((_, count) => resolve(count)));

    await expect.poll(countSockets, PATIENT).toBe(0);
    await expect.poll(heldNow, PATIENT).toBe(0);
    await expect
      .poll(() => process.getActiveResourcesInfo().toSorted(), PATIENT)
      .toEqual(resources);
    expect(http.eventNames().map((name) => http.listenerCount(name))).toEqual(listeners);
  });
});
