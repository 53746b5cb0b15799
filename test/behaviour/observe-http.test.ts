import { readFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { EVENT } from '@rivulet/protocol';
import { createLogger, createServer } from '@rivulet/server';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { startChild, type Child } from '../harness/child.js';
import { type Exposition, parseExposition } from '../harness/exposition.js';
import { startFake, type RunningFake } from '../harness/fakes.js';
import { collect, connect, next } from '../harness/plain-client.js';
import { providersOf } from '../harness/providers.js';
import { stage } from '../harness/stage.js';

const CLI = ['--conditions=@rivulet/source', '--import', 'tsx', 'packages/server/src/cli.ts'];
const startServer = (env: Record<string, string>, ...args: string[]): Promise<Child> =>
  startChild(process.execPath, [...CLI.slice(0, -1), ...args, CLI.at(-1)!], {
    env: { PORT: '0', LLM_MODE: 'docs', ...env },
    ready: /^rivulet: (\S+)/,
  });

const { version } = JSON.parse(
  readFileSync(new URL('../../packages/server/package.json', import.meta.url), 'utf8'),
) as { version: string };
const KEY = 'AIza-key-that-stays-here';
const BROWSER = 'browser-id-that-nobody-guesses';
const MODEL = 'gemini-2.5-flash';

/** The number of records by their labels: the count of histograms, the value of everything else. */
function counts({ types, samples }: Exposition): Record<string, Record<string, number>> {
  const all: Record<string, Record<string, number>> = {};
  for (const [name, type] of types) {
    const sample = type === 'histogram' ? `${name}_count` : name;
    const own = samples.filter((one) => one.name === sample);
    all[name] = Object.fromEntries(
      own.map(({ labels, value }) => [Object.values(labels).join(' '), value]),
    );
  }
  return all;
}

/** An answer, the same from the cache, a failure, a fallback, and a cancel. */
async function liveALife(url: string): Promise<void> {
  const socket = connect(url, { browser_id: BROWSER });
  const ask = async (query: string, stream_id: string, window?: number): Promise<string> => {
    const ended = collect(socket);
    const about = { stream_id, session_id: 'session-of-mine', ...(window && { window }) };
    await socket.emitWithAck(EVENT.start, { query, ...about });
    const { terminal } = await ended;
    return terminal.type === EVENT.end ? terminal.finish_reason : terminal.code;
  };
  expect(await ask('xyzzy plugh', 'stream-of-mine-1')).toBe('stop');
  expect(await ask('xyzzy plugh', 'stream-of-mine-2')).toBe('stop');
  expect(await ask('blocked xyzzy', 'stream-of-mine-3')).toBe('content_filter');
  expect(await ask('error-frame-busy xyzzy', 'stream-of-mine-4', 65_536)).toBe('stop');
  const begun = next<{ data: string }>(socket, EVENT.chunk, ({ data }) => data.includes('begins'));
  const cancelled = ask('stall xyzzy', 'stream-of-mine-5');
  await begun;
  await socket.emitWithAck(EVENT.cancel, { stream_id: 'stream-of-mine-5' });
  expect(await cancelled).toBe('cancelled');
}

const OUTCOMES = {
  'stop model': 2,
  'stop cache': 1,
  'content_filter model': 1,
  'cancelled model': 1,
};
const GEMINI = `generate_content gcp.gemini ${MODEL}`;
const OLLAMA = 'chat ollama llama3.2';

describe('/metrics of the server process', () => {
  let gemini: RunningFake;
  let ollama: RunningFake;
  beforeAll(async () => {
    [gemini, ollama] = await Promise.all([startFake('gemini'), startFake('ollama')]);
  });
  afterAll(() => Promise.all([gemini.stop(), ollama.stop()]));

  it('has exactly what happened; and neither it nor the log a prompt, answer, key or id', async () => {
    const server = await startServer({
      LLM_MODE: 'hybrid',
      GEMINI_API_KEY: KEY,
      GEMINI_MODEL: MODEL,
      GEMINI_BASE_URL: gemini.url,
      OLLAMA_HOST: ollama.url,
      OLLAMA_MODEL: 'llama3.2',
      MAX_CONNECTIONS: '321',
      MAX_LOG_BYTES: '7654321',
    });
    const url = server.match[1]!;
    await liveALife(url);
    const text = await vi.waitFor(async () => {
      const read = await (await fetch(`${url}/metrics`)).text();
      expect(read).toMatch(/^llm_stream_active 0$/m);
      return read;
    });

    const {
      llm_stream_log_bytes: logBytes,
      process_resident_memory_bytes: memory,
      process_start_time_seconds: startTime,
      ...counted
    } = counts(parseExposition(text));
    expect(logBytes!['']).toBeGreaterThan(0);
    // A Node.js process has tens of megabytes.
    expect(memory!['']).toBeGreaterThan(20_000_000);
    expect(Math.abs(startTime!['']! - Date.now() / 1000)).toBeLessThan(120);
    expect(counted).toEqual({
      llm_stream_latency_ms: OUTCOMES,
      llm_stream_response_length: OUTCOMES,
      llm_stream_first_chunk_ms: { model: 3, cache: 1 },
      llm_stream_active: { '': 0 },
      llm_stream_cache_hit_total: { '': 1 },
      llm_stream_connections: { '': 1 },
      llm_stream_readers: { '': 0 },
      llm_stream_max_connections: { '': 321 },
      llm_stream_max_log_bytes: { '': 7_654_321 },
      llm_stream_draining: { '': 0 },
      rivulet_build_info: { [version]: 1 },
      llm_queue_length: { gemini: 0, ollama: 0 },
      llm_breaker_state: {
        'gemini closed': 1,
        'gemini half-open': 0,
        'gemini open': 0,
        'ollama closed': 1,
        'ollama half-open': 0,
        'ollama open': 0,
      },
      llm_stream_fallback_total: { 'gemini ollama busy': 1 },
      llm_stream_tokens_per_second: { [`gemini ${MODEL}`]: 1, 'ollama llama3.2': 1 },
      gen_ai_client_operation_duration: {
        [`${GEMINI} ${MODEL}`]: 1,
        [`${GEMINI} content_filter`]: 1,
        // Once more, before Ollama is asked.
        [`${GEMINI} busy`]: 2,
        [`${GEMINI} cancelled`]: 1,
        [`${OLLAMA} llama3.2`]: 1,
      },
      gen_ai_client_operation_time_to_first_chunk: { [GEMINI]: 2, [OLLAMA]: 1 },
      gen_ai_client_operation_time_per_output_chunk: {
        // Once for each call with more than one piece.
        [GEMINI]: 2,
        [OLLAMA]: 1,
      },
      gen_ai_client_token_usage: {
        [`${GEMINI} ${MODEL} input`]: 1,
        [`${GEMINI} ${MODEL} output`]: 1,
        [`${OLLAMA} llama3.2 input`]: 1,
        [`${OLLAMA} llama3.2 output`]: 1,
      },
    });

    expect(await server.stop()).toBe(0);
    expect(server.output()).toContain('LLM_STREAM_API_FALLBACK');
    const answers = ['smallest thing', 'how it begins'];
    const ids = [BROWSER, 'browser:', 'socket:', 'stream-of-mine', 'session-of-mine'];
    for (const secret of ['xyzzy', 'plugh', KEY, ...answers, ...ids]) {
      expect(text).not.toContain(secret);
      expect(server.output()).not.toContain(secret);
    }
  });
});

describe('/metrics', () => {
  it('is not there when METRICS_ENABLED is false', async () => {
    const server = await startServer({ METRICS_ENABLED: 'false' });
    expect((await fetch(`${server.match[1]}/metrics`)).status).toBe(404);
    await server.stop();
  });

  it('is not there, and metrics go on, when the process has a meter provider of its own', async () => {
    const server = await startServer({}, '--import', './test/fakes/own-telemetry.ts');
    const socket = connect(server.match[1]!);
    socket.emit(EVENT.start, { query: 'What is Rivulet?' });
    await next(socket, EVENT.end);
    await vi.waitFor(() => expect(server.output()).toContain('llm_stream_latency_ms'));
    expect((await fetch(`${server.match[1]}/metrics`)).status).toBe(404);
    await server.stop();
  });
});

describe('the health of a server', () => {
  it('is that it is up, and that it takes streams while it listens', async () => {
    const server = await createServer({
      env: {},
      logger: createLogger('silent'),
      providers: providersOf(stage().provider),
    });
    // Before another server, as a platform's may stand, so that it can be asked at any time.
    const front = createHttpServer((...exchange) => server.http.emit('request', ...exchange));
    await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void front.close());
    const { port } = front.address() as AddressInfo;
    const ask = async (path: string): Promise<string> => {
      const response = await fetch(`http://127.0.0.1:${port}${path}`);
      return `${response.status} ${await response.text()}`;
    };
    const notReady = (reason: string): string => `503 not ready: ${reason}\n`;

    expect(await ask('/healthz')).toBe('200 up\n');
    expect(await ask('/readyz')).toBe(notReady('the server is not listening'));
    await server.listen(0);
    expect(await ask('/readyz?verbose')).toBe('200 ready\n');
    await server.close();
    expect(await ask('/readyz')).toBe(notReady('the server is shutting down'));
    expect(await ask('/healthz')).toBe('200 up\n');
  });

  it('is answered before the page', async () => {
    const server = await createServer({
      env: {},
      logger: createLogger('silent'),
      providers: providersOf(stage().provider),
      page: (_, response) => void response.end('the page'),
    });
    const url = await server.listen(0);
    onTestFinished(() => server.close());
    const ask = async (path: string) => (await fetch(`${url}${path}`)).text();
    expect(await ask('/healthz')).toBe('up\n');
    expect(await ask('/readyz')).toBe('ready\n');
    expect(await ask('/metrics')).toBe('the page');
    expect(await ask('/anything')).toBe('the page');
  });
});
