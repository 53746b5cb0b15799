import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { createLogger, resolveSettings } from '@rivulet/server';
import { describe, expect, it, onTestFinished } from 'vitest';
import { request } from '../../packages/server/src/providers/http.js';
import { chooseProviders } from '../../packages/server/src/upstream/choose-providers.js';
import { answerTo } from '../fakes/shared.js';
import { startFake } from '../harness/fakes.js';
import { startServer } from '../harness/rivulet.js';
import { sdk } from '../harness/sdk.js';

const ASKERS = 100;
const CLIENTS = 4;

describe.each([
  ['gemini', 32, {}],
  ['gemini', 4, { GEMINI_CONCURRENCY: '4' }],
  ['openai', 4, { OPENAI_CONCURRENCY: '4' }],
  ['ollama', 1, {}],
  ['ollama', 4, { OLLAMA_CONCURRENCY: '4' }],
] as const)('a hundred askers at once before %s, which answers %i at a time', (name, most, env) => {
  it('are all served, over no more connections than that, used again and again', async () => {
    const fake = await startFake(name);
    const settings = resolveSettings({
      env: {
        ...{
          gemini: { LLM_MODE: 'api', GEMINI_API_KEY: 'k', GEMINI_BASE_URL: fake.url },
          openai: { LLM_MODE: 'api', OPENAI_BASE_URL: `${fake.url}/v1`, OPENAI_MODEL: 'm' },
          ollama: { LLM_MODE: 'local', OLLAMA_HOST: fake.url },
        }[name],
        ...env,
      },
    });
    const providers = await chooseProviders(settings, createLogger('silent'));
    const { url, llm } = await startServer(providers[0].provider, { providers });
    const clients = Array.from({ length: CLIENTS }, () => sdk(url));
    const answers = Array.from({ length: ASKERS }, (_, i) =>
      clients[i % CLIENTS]!.start({ query: `question ${i}` }),
    );
    const done = await Promise.all(answers.map(({ result }) => result));
    const { requests, aborted, socketsTotal } = await fake.stats();
    await fake.stop();
    expect(done.map(({ text }) => text)).toEqual(done.map((_, i) => answerTo(`question ${i}`)));
    expect({ requests, aborted }).toEqual({ requests: ASKERS, aborted: 0 });
    expect(socketsTotal).toBeLessThanOrEqual(most);
    expect(llm.providerStatus()).toMatchObject([{ running: 0, waiting: 0, breaker: 'closed' }]);
  });
});

/**
 * A server in another thread. It sends one piece of each body, and ends all bodies on a message. It sets
 * `ended[0]` to 1 when the end has had 50 ms to arrive.
 */
const PIECE_SERVER = `
  const { createServer } = require('node:http');
  const { parentPort, workerData: ended } = require('node:worker_threads');
  const responses = [];
  const server = createServer(({ socket }, response) => {
    response.writeHead(200, { 'x-port': socket.remotePort });
    response.write('piece');
    responses.push(response);
  });
  server.keepAliveTimeout = 60_000;
  server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
  parentPort.on('message', () => {
    for (const response of responses) response.end();
    setTimeout(() => {
      Atomics.store(ended, 0, 1);
      Atomics.notify(ended, 0);
    }, 50);
  });
`;

describe('a body that is drained', () => {
  it('keeps its connection if its end arrives while the process is busy', async () => {
    const ended = new Int32Array(new SharedArrayBuffer(4));
    const worker = new Worker(PIECE_SERVER, { eval: true, workerData: ended });
    onTestFinished(async () => void (await worker.terminate()));
    const [port] = (await once(worker, 'message')) as [number];
    const ask = () => request(`http://127.0.0.1:${port}`, { signal: new AbortController().signal });

    const first = await ask();
    expect(Buffer.from((await first.body.read())!).toString()).toBe('piece');
    // In this phase of the event loop, timers run before data is read.
    await nextTurn();
    const drained = first.body.drain(20);
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker has none
    worker.postMessage('end');
    Atomics.wait(ended, 0, 0, 10_000);
    await drained;
    // undici reuses a connection one turn of the event loop after the end of a response.
    await nextTurn();

    const second = await ask();
    expect(second.header('x-port')).toBe(first.header('x-port'));
    second.body.close();
  });
});
