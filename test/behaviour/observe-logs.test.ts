import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { EVENT, StreamError } from '@rivulet/protocol';
import {
  createServer,
  type Logger,
  type Provider,
  ProviderError,
  mockProvider,
} from '@rivulet/server';
import { pino } from 'pino';
import { describe, expect, it, onTestFinished } from 'vitest';
import { errorFacts } from '../../packages/server/src/observe/error-facts.js';
import { FieldsLogger, logErrorFacts } from '../../packages/server/src/observe/logger.js';
import { startChild } from '../harness/child.js';
import { unusedUrl } from '../harness/fakes.js';
import { collect, connect } from '../harness/plain-client.js';
import { startServer } from '../harness/rivulet.js';
import { entriesOf, serviceOf } from '../harness/service.js';
import { stage } from '../harness/stage.js';

const PROMPT = 'xyzzy plugh\n    at prompt (file:///home/me/secret.js:1:2)\n    at /secret.js:3:4';
const ANSWER = 'frobozz magic';
const KEY = 'AIza-key-that-stays-here';
const SECRETS = ['xyzzy', 'plugh', 'secret.js', 'frobozz', 'magic', KEY, 'principal-7', 'stream-9'];
const ASK = { query: PROMPT, principal: 'principal-7' };

/** A logger as a user would bring it, with pino's own serializers and every level. */
function recorded(): { logger: Logger; written: () => string; events: () => unknown[] } {
  const lines: string[] = [];
  const write = (line: string): void => void lines.push(line);
  return {
    logger: pino({ base: null, level: 'trace' }, { write }),
    written: () => lines.join(''),
    events: () => lines.map((line) => (JSON.parse(line) as { event: unknown }).event),
  };
}

it('a log that cannot be written does not end the process', async () => {
  const script = `
    import { createLogger } from '@rivulet/server';
    const logger = createLogger('info');
    for (let i = 0; i < 3; i++) {
      logger.info({ event: 'LINE' });
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    console.log('still here');`;
  const { stdout } = await promisify(execFile)('sh', [
    '-c',
    '"$0" --conditions=@rivulet/source --import tsx --input-type=module --eval "$1" 2>/dev/full',
    process.execPath,
    script,
  ]);
  expect(stdout).toBe('still here\n');
});

function expectNoSecret(written: string): void {
  for (const secret of SECRETS) expect(written).not.toContain(secret);
}

const words = `unable to answer "${PROMPT}" with ${KEY} after ${ANSWER}`;
const withProperties = Object.assign(new Error(words), {
  request: { messages: [PROMPT], headers: { 'x-goog-api-key': KEY } },
  name: PROMPT,
  code: KEY,
  failure: PROMPT,
  status: PROMPT,
});
const posing = Object.assign(new Error(words), { name: 'ProviderError', failure: KEY });
const restacked = Object.assign(new Error('short'), { stack: `Error: ${words}` });
const circular = new Error(words);
circular.cause = circular;
const deep = [1, 2, 3, 4, 5, 6, 7, 8].reduce((cause) => new Error(words, { cause }), circular);
const throwing = Object.defineProperty(new Error(words), 'cause', {
  get() {
    throw new Error(words);
  },
});
const serializable = { toJSON: () => words, message: words, stack: words, type: words };

const HOSTILE: [string, unknown][] = [
  ['an error that quotes all', new Error(words)],
  ['an error with the request on it', withProperties],
  ['a provider’s error', new ProviderError('unavailable', words, { cause: new Error(words) })],
  ['an error that calls itself a provider’s', posing],
  ['a stream’s error', new StreamError('stalled', words, { cause: withProperties })],
  ['an error with a stack of its own', restacked],
  ['an error that is its own cause', circular],
  ['a deep chain of causes', deep],
  ['many errors in one', new AggregateError(Array(20).fill(withProperties), words)],
  ['an error whose cause throws', throwing],
  ['a string', words],
  ['an object that says how it is written', serializable],
  ['a bigint', 7n],
  ['nothing', undefined],
];

const failing = (error: unknown): Provider => ({
  name: 'hostile',
  model: 'm',
  async *stream() {
    yield { type: 'text', text: ANSWER };
    throw error;
  },
});
const answering = mockProvider(() => [{ text: ANSWER }, { finish: 'stop' }]);

describe('no prompt, answer, key or id is in the log', () => {
  it.each(HOSTILE)('when a provider throws %s', async (_, error) => {
    const { logger, written, events } = recorded();
    await entriesOf(serviceOf(failing(error), { logger }).generateResponseStream(ASK));
    expect(events()).toEqual(['LLM_STREAM_GENERATION_FAILED']);
    expectNoSecret(written());
  });

  it.each(HOSTILE)('when a provider is given up for %s', async (_, error) => {
    const { logger, written, events } = recorded();
    const llm = serviceOf([failing(error), answering], { logger });
    await entriesOf(llm.generateResponseStream(ASK));
    expect(events()).toEqual(['LLM_STREAM_API_FALLBACK', 'LLM_STREAM_COMPLETED']);
    expectNoSecret(written());
  });

  it.each(HOSTILE)('when the cache throws %s', async (_, error) => {
    const { logger, written, events } = recorded();
    const fail = (): never => {
      throw error;
    };
    const llm = serviceOf(answering, { logger, cache: { get: fail, set: fail } });
    await entriesOf(llm.generateResponseStream(ASK));
    expect(events()).toEqual(['LLM_CACHE_FAILED', 'LLM_CACHE_FAILED', 'LLM_STREAM_COMPLETED']);
    expectNoSecret(written());
  });

  it('when all providers failed', async () => {
    const { logger, written } = recorded();
    const hostile = new ProviderError('misconfigured', words, { status: 403 });
    const llm = serviceOf([failing(hostile), failing(withProperties)], { logger });
    await entriesOf(llm.generateResponseStream(ASK));
    expect(written()).toContain('"code":"all_providers_failed"');
    expectNoSecret(written());
  });

  it('when a page of another origin connects, whatever it calls itself', async () => {
    const { logger, written } = recorded();
    const { url } = await startServer(stage().provider, { logger });
    const origin = `https://${'x'.repeat(4_000)}`;
    await fetch(`${url}/socket.io/?EIO=4&transport=polling`, { headers: { origin } });
    expect(written()).toContain('ORIGIN_REFUSED');
    expect(written().length).toBeLessThan(500);
  });

  it('when Ollama is looked for at a host with a password', async () => {
    const { logger, written } = recorded();
    const env = { OLLAMA_HOST: `http://me:${KEY}@127.0.0.1:9`, LLM_MODE: 'auto' };
    await (await createServer({ env, logger })).close();
    expect(JSON.parse(written().split('\n')[0]!)).toEqual({
      level: 30,
      time: expect.any(Number),
      event: 'OLLAMA_NOT_FOUND',
      host: '127.0.0.1:9',
      err: {
        type: 'ProviderError',
        failure: 'unavailable',
        detail: expect.stringMatching(/^unable to reach ollama: connection refused\./),
        cause: expect.objectContaining({ code: 'ECONNREFUSED' }),
      },
    });
    expectNoSecret(written());
  });

  it('when a fault that nobody caught ends the process', async () => {
    const cli = ['--conditions=@rivulet/source', '--import', 'tsx', 'test/fakes/faulty-process.ts'];
    const ended: unknown = await startChild(process.execPath, cli, {
      env: { FAULT: words },
      ready: /^never/,
    }).catch((error: Error) => error.message);
    expect(ended).toContain('it ended with 1');
    expect(ended).toMatch(/"event":"SERVER_EXIT","exitCode":1,.*"err":\{"type":"TypeError"/);
    expectNoSecret(String(ended));
  });
});

describe('the log says of a failure', () => {
  it('what the operator needs: which kind, which status, which network fault', () => {
    const refused = Object.assign(new Error(words), { code: 'ECONNREFUSED' });
    const detail = 'gemini answered HTTP 403. Check GEMINI_API_KEY';
    const cause = new ProviderError('misconfigured', words, {
      status: 403,
      detail,
      cause: refused,
    });
    expect(errorFacts(new StreamError('provider_unavailable', words, { cause }))).toEqual({
      type: 'StreamError',
      code: 'provider_unavailable',
      cause: {
        type: 'ProviderError',
        failure: 'misconfigured',
        detail,
        status: 403,
        cause: expect.objectContaining({ code: 'ECONNREFUSED' }),
      },
    });
  });

  it('what a provider wrote for the operator, up to 500 characters, and of no other error', () => {
    const long = new ProviderError('busy', words, { detail: 'x'.repeat(10_000) });
    expect(errorFacts(long).detail).toBe('x'.repeat(500));
    const other = Object.assign(new Error(words), { detail: words });
    expect(errorFacts(other)).not.toHaveProperty('detail');
  });

  it('the same, however many loggers a line passes through', () => {
    const { logger, written } = recorded();
    const fields = new FieldsLogger(logErrorFacts(logger), { worker: 1 });
    const cause = new ProviderError('busy', words, { detail: 'Check it' });
    logErrorFacts(fields).warn({ event: 'OF_A_TEST', err: new Error(words, { cause }) });
    expect(JSON.parse(written())).toMatchObject({
      worker: 1,
      err: { type: 'Error', cause: { type: 'ProviderError', failure: 'busy', detail: 'Check it' } },
    });
    expectNoSecret(written());
  });

  it('in `rivulet-server`, what a provider or the network did, at the start and for a question', async () => {
    const cli = ['--conditions=@rivulet/source', '--import', 'tsx', 'packages/server/src/cli.ts'];
    const child = await startChild(process.execPath, cli, {
      env: { PORT: '0', LLM_MODE: 'api', OPENAI_BASE_URL: await unusedUrl(), OPENAI_MODEL: 'm' },
      ready: /^rivulet: (\S+)/,
    });
    onTestFinished(async () => void (await child.stop('SIGKILL')));
    const facts = {
      type: 'ProviderError',
      detail:
        'unable to reach openai: connection refused. Check that the server runs, and OPENAI_BASE_URL',
    };
    const logged = (name: string): unknown =>
      child
        .output()
        .split('\n')
        .filter((line) => line.startsWith('{') && line.endsWith('}'))
        .map((line) => JSON.parse(line) as Record<string, unknown>)
        .find(({ event }) => event === name);
    await expect
      .poll(() => logged('LLM_PROVIDER_UNAVAILABLE'))
      .toMatchObject({ provider: 'openai', err: facts });
    const socket = connect(child.match[1]!);
    const answer = collect(socket);
    socket.emit(EVENT.start, { query: PROMPT });
    await answer;
    await expect
      .poll(() => logged('LLM_STREAM_GENERATION_FAILED'))
      .toMatchObject({ provider: 'openai', err: { type: 'StreamError', cause: facts } });
    expectNoSecret(child.output());
  });

  it('no more than four causes deep', () => {
    expect(JSON.stringify(errorFacts(circular)).match(/"cause"/g)).toHaveLength(4);
  });

  it('where a fault of the code was thrown', () => {
    const { type, stack } = errorFacts(new TypeError(words));
    expect(type).toBe('TypeError');
    expect(stack?.[0]).toMatch(/observe-logs\.test\.ts:\d+:\d+/);
  });
});
