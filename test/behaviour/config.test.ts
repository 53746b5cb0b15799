import { readConfig } from '@rivulet/server';
import { describe, expect, it } from 'vitest';
import { startChild } from '../harness/child.js';

const CLI = ['--conditions=@rivulet/source', '--import', 'tsx', 'packages/server/src/cli.ts'];
const startWith = (env: Record<string, string>) =>
  startChild(process.execPath, CLI, {
    env: { PORT: '0', LLM_MODE: 'docs', ...env },
    ready: /^rivulet: (\S+)/,
  });

describe('the server process', () => {
  it('prints one line with its URL when it accepts connections, and ends with 0 on SIGTERM', async () => {
    const child = await startWith({});
    expect((await fetch(`${child.match[1]}/docs/README.md`)).status).toBe(200);
    expect(await child.stop('SIGTERM')).toBe(0);
    expect(child.output()).toMatch(/^rivulet: http:\/\/localhost:\d+ \(docs\)\n$/);
  });

  it('ends at once on a wrong value, naming the variable, what it was, what it may be', async () => {
    await expect(startWith({ LLM_MODE: 'cloud', PORT: '99999' })).rejects.toThrow(
      /it ended with 1\n(.|\n)*PORT is "99999"; it may be a whole number from 0 to 65535\nLLM_MODE is "cloud"; it may be one of auto, api, local, hybrid, docs/,
    );
  });

  it('names HOST when it is no address of this machine', async () => {
    await expect(startWith({ HOST: '192.0.2.1' })).rejects.toThrow(
      /HOST is "192\.0\.2\.1"; it may be an address of this machine/,
    );
  });

  it('says what to do when its port is taken', async () => {
    const first = await startWith({});
    const port = new URL(first.match[1]!).port;
    await expect(startWith({ PORT: port })).rejects.toThrow(
      /PORT is \d+, which another process has; it may be any other, or 0/,
    );
    await first.stop();
  });
});

describe('the configuration', () => {
  it.each([
    ['PORT', '70000', 'a whole number from 0 to 65535'],
    ['PORT', '80.5', 'a whole number'],
    ['PORT', ' ', 'a whole number'],
    ['LLM_TEMPERATURE', 'hot', 'a number from 0 to 2'],
    ['LLM_TOP_P', '1.5', 'a number from 0 to 1'],
    ['LLM_TOP_K', '0', 'a whole number from 1 to 1000'],
    ['LLM_MAX_TOKENS', '-1', 'a whole number from 1'],
    ['LLM_CACHE_ENABLED', 'yes', 'one of true, false'],
    ['LLM_CACHE_TTL', '0', 'a whole number from 1 to 31536000 (seconds)'],
    ['OLLAMA_HOST', 'ftp://localhost', 'a URL or a host'],
    ['OLLAMA_HOST', 'local host', 'a URL or a host'],
    ['GEMINI_CONCURRENCY', '0', 'a whole number from 1 to 10000'],
    ['OLLAMA_CONCURRENCY', 'many', 'a whole number from 1 to 10000'],
    ['LLM_MAX_QUEUED', '-1', 'a whole number from 0 to 1000000'],
    ['LLM_ON_MIDSTREAM_FAILURE', 'retry', 'one of restart, fail'],
    ['GEMINI_BASE_URL', 'ftp://x', 'an http or https URL'],
    ['ALLOWED_ORIGINS', 'chat.example', 'origins parted by commas'],
    ['ALLOWED_ORIGINS', 'https://chat.example/', 'origins parted by commas'],
    ['RATE_LIMIT_REQUESTS', '0', 'a whole number from 1 to 1000000'],
    ['RATE_LIMIT_WINDOW_SECONDS', '1.5', 'a whole number from 1 to 86400 (seconds)'],
    ['TRUSTED_PROXIES', 'proxy.example', 'addresses or networks parted by commas'],
    ['TRUSTED_PROXIES', '10.0.0.0/33', 'addresses or networks parted by commas'],
    ['DRAIN_SECONDS', '-1', 'a whole number from 0 to 3600 (seconds)'],
    ['METRICS_ENABLED', 'no', 'one of true, false'],
    ['LOG_LEVEL', 'loud', 'one of trace, debug, info'],
  ])('refuses %s=%s and says what it may be', (name, value, may) => {
    expect(() => readConfig({ [name]: value })).toThrow(`${name} is "${value}"; it may be ${may}`);
  });

  it.each(['api', 'hybrid'])('refuses LLM_MODE=%s without a key', (mode) => {
    expect(() => readConfig({ LLM_MODE: mode })).toThrow(/GEMINI_API_KEY is not set; LLM_MODE=/);
  });

  it.each(['ftp://me:open-sesame@models.example', 'me:open-sesame@models example'])(
    'does not repeat the login in a URL that it refuses (%s)',
    (url) => {
      const refused = (): unknown => readConfig({ OLLAMA_HOST: url });
      expect(refused).toThrow(/^OLLAMA_HOST is "(ftp:\/\/)?\(hidden\)@models.example"; it may be/);
    },
  );

  it('takes an empty variable for one that is not set', () => {
    expect(readConfig({ PORT: '', GEMINI_API_KEY: '' })).toEqual(readConfig({}));
  });

  it.each(['127.0.0.1', 'localhost:11434', 'https://ollama.example/'])(
    'takes OLLAMA_HOST=%s as Ollama does',
    (host) => expect(readConfig({ OLLAMA_HOST: host }).ollama.host).toBe(host),
  );

  it('reads every value', () => {
    expect(
      readConfig({
        HOST: '0.0.0.0',
        PORT: '8080',
        LLM_MODE: 'hybrid',
        GEMINI_API_KEY: 'k',
        GEMINI_MODEL: 'g',
        GEMINI_BASE_URL: 'http://127.0.0.1:1/',
        OLLAMA_HOST: 'http://127.0.0.1:2',
        OLLAMA_MODEL: 'o',
        GEMINI_CONCURRENCY: '8',
        OLLAMA_CONCURRENCY: '2',
        LLM_ON_MIDSTREAM_FAILURE: 'fail',
        LLM_MAX_QUEUED: '100',
        LLM_TEMPERATURE: '0.5',
        LLM_TOP_P: '0.9',
        LLM_TOP_K: '40',
        LLM_MAX_TOKENS: '100',
        LLM_SYSTEM_PROMPT: 's',
        LLM_CACHE_ENABLED: 'false',
        LLM_CACHE_TTL: '5',
        ALLOWED_ORIGINS: 'https://a.example, http://localhost:1',
        RATE_LIMIT_REQUESTS: '5',
        RATE_LIMIT_WINDOW_SECONDS: '10',
        TRUSTED_PROXIES: '10.0.0.0/8, ::1, loopback',
        DRAIN_SECONDS: '3',
        METRICS_ENABLED: 'false',
        LOG_LEVEL: 'error',
      }),
    ).toEqual({
      host: '0.0.0.0',
      port: 8080,
      mode: 'hybrid',
      gemini: { apiKey: 'k', model: 'g', baseUrl: 'http://127.0.0.1:1', concurrency: 8 },
      ollama: { host: 'http://127.0.0.1:2', model: 'o', concurrency: 2 },
      onMidstreamFailure: 'fail',
      maxQueued: 100,
      temperature: 0.5,
      topP: 0.9,
      topK: 40,
      maxTokens: 100,
      systemPrompt: 's',
      cache: { enabled: false, ttlSeconds: 5 },
      allowedOrigins: ['https://a.example', 'http://localhost:1'],
      rateLimit: { requests: 5, windowSeconds: 10 },
      trustedProxies: ['10.0.0.0/8', '::1', 'loopback'],
      drainMs: 3000,
      metricsEnabled: false,
      logLevel: 'error',
    });
  });
});
