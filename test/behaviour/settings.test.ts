import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { getHeapStatistics } from 'node:v8';
import {
  attachRivulet,
  ConfigError,
  createLlmService,
  createLogger,
  createServer,
  type Providers,
  resolveSettings,
  type Settings,
} from '@rivulet/server';
import { Server } from 'socket.io';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { misspeltVariables } from '../../packages/server/src/settings/option-names.js';
import { resolve } from '../../packages/server/src/settings/resolve-settings.js';
import { SETTINGS, type SettingTable } from '../../packages/server/src/settings/settings.js';
import { wholeNumber } from '../../packages/server/src/settings/value-types.js';
import { addressReader } from '../../packages/server/src/socket/client-address.js';
import { startChild } from '../harness/child.js';
import { providersOf } from '../harness/providers.js';
import { entriesOf } from '../harness/service.js';
import { stage } from '../harness/stage.js';

const HEAP_BYTES = getHeapStatistics().heap_size_limit;

const PEM = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----';

interface Example {
  /** A variable, and the setting that it gives. */
  variable: [text: string, value: unknown];
  /** Another allowed value, as an option. */
  option: unknown;
  wrongVariable?: string;
  wrongOption: unknown;
  /** From the error messages. */
  allowed: string;
  allowedOption?: string;
  /** Error messages do not show its value. */
  isHidden?: true;
}

const whole = (max: number, min = 1, unit = ''): Example => ({
  variable: ['7', 7],
  option: 8,
  wrongVariable: '7.5',
  wrongOption: max + 1,
  allowed: `a whole number${unit && ` of ${unit}`} from ${min} to ${max}`,
});
const name: Example = {
  variable: [' a ', 'a'],
  option: 'b',
  wrongVariable: ' ',
  wrongOption: 1,
  allowed: 'text that is not blank',
};
const boolean: Example = {
  variable: ['false', false],
  option: true,
  wrongVariable: 'no',
  wrongOption: 'false',
  allowed: 'true or false',
};
const oneOf = (first: string, second: string, allowed: string): Example => ({
  variable: [first, first],
  option: second,
  wrongVariable: 'loud',
  wrongOption: true,
  allowed: `one of ${allowed}`,
});

const apiKey: Example = {
  ...name,
  wrongVariable: 'a key',
  allowed: 'printable ASCII characters without spaces',
  isHidden: true,
};
const httpUrl: Example = {
  variable: ['http://127.0.0.1:1/v1/', 'http://127.0.0.1:1/v1'],
  option: 'https://proxy.example',
  wrongVariable: 'ftp://proxy.example',
  wrongOption: 'proxy',
  allowed: 'an http or https URL without user name and password, such as https://api.example/v1',
};

const deadlines = <P extends 'gemini' | 'openai' | 'ollama'>(provider: P) =>
  ({
    [`${provider}.firstChunkSeconds`]: whole(86_400, 0, 'seconds'),
    [`${provider}.stallSeconds`]: whole(86_400, 0, 'seconds'),
    [`${provider}.totalSeconds`]: whole(86_400, 0, 'seconds'),
  }) as Record<`${P}.${'firstChunk' | 'stall' | 'total'}Seconds`, Example>;

const DAY_MS = 86_400_000;
const TIB = 1024 ** 4;

const EXAMPLES: Record<keyof SettingTable<Settings>, Example> = {
  host: name,
  port: whole(65_535, 0),
  socketPath: {
    variable: ['/chat/socket.io/', '/chat/socket.io'],
    option: '/s',
    wrongVariable: '/',
    wrongOption: 'socket.io',
    allowed:
      'a path that begins with a slash and is not / alone, such as /socket.io or /chat/socket.io',
  },
  drainSeconds: whole(3600, 0, 'seconds'),
  metricsEnabled: boolean,
  'redis.url': {
    variable: [' rediss://u:p@redis.example:6380/1 ', 'rediss://u:p@redis.example:6380/1'],
    option: 'redis://127.0.0.1',
    wrongVariable: 'http://redis.example',
    wrongOption: 6379,
    allowed: 'a redis or rediss URL, such as rediss://user:password@redis.example:6379/0',
    isHidden: true,
  },
  'redis.ca': {
    variable: [` ${PEM}`, PEM],
    option: PEM,
    wrongVariable: '/etc/ca.pem',
    wrongOption: true,
    allowed: 'certificates in PEM form, which begin with -----BEGIN CERTIFICATE-----',
  },
  'redis.keyPrefix': {
    variable: ['chat:', 'chat:'],
    option: 'other:',
    wrongVariable: '{chat}',
    wrongOption: '',
    allowed: 'at most 64 printable ASCII characters without spaces and braces',
  },
  'redis.onNodeLoss': oneOf('restart', 'fail', 'restart, fail'),
  allowedOrigins: {
    variable: [
      'https://A.example/, http://localhost:1,capacitor://localhost,*',
      ['https://a.example', 'http://localhost:1', 'capacitor://localhost', '*'],
    ],
    option: ['https://b.example'],
    wrongVariable: 'https://chat.example/page',
    wrongOption: 'https://chat.example',
    allowed:
      'comma-separated origins, such as https://chat.example, https://*.chat.example, app://localhost or null, or *',
    allowedOption:
      'an array of origins, such as https://chat.example, https://*.chat.example, app://localhost or null, or *',
  },
  trustedProxies: {
    variable: ['10.0.0.0/8, ::1,loopback', ['10.0.0.0/8', '::1', 'loopback']],
    option: ['192.0.2.1'],
    wrongVariable: '10.0.0.0/33',
    wrongOption: ['proxy.example'],
    allowed: 'comma-separated addresses or networks, such as 10.0.0.0/8, ::1 or loopback',
    allowedOption: 'an array of addresses or networks, such as 10.0.0.0/8, ::1 or loopback',
  },
  'rateLimit.requests': whole(1_000_000),
  'rateLimit.windowSeconds': whole(86_400, 1, 'seconds'),
  'limits.maxConnections': whole(1_000_000),
  'limits.maxConnectionsPerAddress': whole(1_000_000),
  'limits.maxConnectionsPerPrincipal': whole(1_000_000),
  'limits.maxHandshakesPerAddress': whole(1_000_000),
  'limits.maxMessagesPerSecond': whole(1_000_000),
  'limits.maxBytesPerSecond': whole(TIB, 1, 'bytes'),
  'limits.maxStreamsPerPrincipal': whole(1_000_000),
  'limits.maxLogBytes': whole(TIB, 1, 'bytes'),
  'limits.detachTimeoutMs': whole(DAY_MS, 0, 'milliseconds'),
  'limits.disconnectTimeoutMs': whole(DAY_MS, 0, 'milliseconds'),
  'limits.finishedRetentionMs': whole(DAY_MS, 0, 'milliseconds'),
  mode: oneOf('local', 'docs', 'auto, api, local, hybrid, docs'),
  api: oneOf('openai', 'gemini', 'gemini, openai'),
  'gemini.apiKey': apiKey,
  'gemini.model': name,
  'gemini.baseUrl': httpUrl,
  ...deadlines('gemini'),
  'gemini.concurrency': whole(10_000),
  'openai.apiKey': apiKey,
  'openai.model': name,
  'openai.baseUrl': httpUrl,
  ...deadlines('openai'),
  'openai.concurrency': whole(10_000),
  'ollama.host': {
    variable: ['http://127.0.0.1:2', 'http://127.0.0.1:2'],
    option: 'https://ollama.example',
    wrongVariable: 'local host',
    wrongOption: 11_434,
    allowed: 'a URL or a host, such as http://127.0.0.1:11434',
  },
  'ollama.model': name,
  'ollama.numCtx': whole(10_000_000, 1, 'tokens'),
  'ollama.keepAlive': {
    variable: [' 1h30m ', '1h30m'],
    option: 600,
    wrongVariable: '10 minutes',
    wrongOption: true,
    allowed: 'a duration, such as 10m or 1h30m, or a number of seconds',
  },
  'ollama.preload': boolean,
  'ollama.loadSeconds': whole(86_400, 0, 'seconds'),
  ...deadlines('ollama'),
  'ollama.concurrency': whole(10_000),
  onMidstreamFailure: oneOf('fail', 'restart', 'restart, fail'),
  systemPrompt: { variable: ['', ''], option: ' as it is ', wrongOption: 1, allowed: 'text' },
  temperature: {
    variable: ['0.5', 0.5],
    option: 2,
    wrongVariable: 'hot',
    wrongOption: Number.NaN,
    allowed: 'a number from 0 to 2',
  },
  topP: {
    variable: ['0.5', 0.5],
    option: 1,
    wrongVariable: '1.5',
    wrongOption: '0.5',
    allowed: 'a number from 0 to 1',
  },
  topK: whole(1000),
  maxTokens: whole(1_000_000, 1, 'tokens'),
  'cache.enabled': boolean,
  'cache.scope': oneOf('shared', 'principal', 'shared, principal'),
  'cache.ttlSeconds': whole(31_536_000, 1, 'seconds'),
  'cache.maxBytes': whole(TIB, 1, 'bytes'),
  'limits.maxQueued': whole(1_000_000, 0),
  'limits.maxResponseUnits': whole(100_000_000, 1, 'UTF-16 units'),
  'limits.maxToolRounds': whole(1000),
  'limits.maxToolCallsPerRound': whole(1000),
  'limits.toolTimeoutMs': whole(DAY_MS, 1, 'milliseconds'),
  'limits.toolReplyTimeoutMs': whole(DAY_MS, 1, 'milliseconds'),
  'limits.maxToolResultUnits': whole(100_000_000, 1, 'UTF-16 units'),
  logLevel: oneOf('warn', 'error', 'trace, debug, info, warn, error, fatal, silent'),
};

/** The settings with one option and the given variables. */
function settingsWith(path: string, option: unknown, env: Record<string, string> = {}): Settings {
  const [first, second] = path.split('.') as [string, string | undefined];
  const value = second === undefined ? option : { [second]: option };
  return resolveSettings({ env, ...(option !== undefined && { [first]: value }) });
}

function valueAt(settings: Settings, path: string): unknown {
  return path.split('.').reduce<unknown>((value, key) => (value as never)[key], settings);
}

/** The message of the `ConfigError` that is thrown. */
function refusalOf(attempt: () => unknown): string {
  try {
    attempt();
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  throw new Error('no error was thrown');
}

describe.each(Object.entries(EXAMPLES))('the setting %s', (path, example) => {
  const { env } = SETTINGS[path as keyof typeof SETTINGS];
  const [text, value] = example.variable;
  const shown = (wrong: unknown): string => {
    if (example.isHidden) return '(hidden)';
    return Number.isNaN(wrong) ? 'NaN' : JSON.stringify(wrong);
  };

  it('is set by its variable', () => {
    expect(valueAt(settingsWith(path, undefined, { [env]: text }), path)).toEqual(value);
  });

  it('is set by its option, which wins over the variable', () => {
    const { option } = example;
    expect(valueAt(settingsWith(path, option), path)).toEqual(option);
    expect(valueAt(settingsWith(path, option, { [env]: text }), path)).toEqual(option);
  });

  it('has its default when the option is undefined and the variable is empty', () => {
    if (text === '') return;
    const settings = settingsWith(path, undefined, { [env]: '' });
    expect(settings).toEqual(resolveSettings({ env: {} }));
  });

  it('refuses a wrong variable, naming it and the allowed values', () => {
    const { wrongVariable, allowed } = example;
    if (wrongVariable === undefined) return;
    expect(refusalOf(() => settingsWith(path, undefined, { [env]: wrongVariable }))).toBe(
      `${env} is ${shown(wrongVariable)}; it must be ${allowed}`,
    );
  });

  it('refuses a wrong option, naming it and the allowed values', () => {
    const { wrongOption, allowed, allowedOption = allowed } = example;
    expect(refusalOf(() => settingsWith(path, wrongOption, { [env]: text }))).toBe(
      `${path} is ${shown(wrongOption)}; it must be ${allowedOption}`,
    );
  });
});

describe('the settings', () => {
  it('have these defaults', () => {
    expect(resolveSettings({ env: {} })).toEqual({
      host: '127.0.0.1',
      port: 3000,
      socketPath: '/socket.io',
      drainSeconds: 20,
      metricsEnabled: true,
      redis: { url: undefined, keyPrefix: 'rivulet:', onNodeLoss: 'restart' },
      allowedOrigins: undefined,
      trustedProxies: [],
      rateLimit: { requests: 30, windowSeconds: 60 },
      limits: {
        maxConnections: expect.any(Number),
        maxConnectionsPerAddress: expect.any(Number),
        maxConnectionsPerPrincipal: 64,
        maxHandshakesPerAddress: 256,
        maxMessagesPerSecond: 200,
        maxBytesPerSecond: 1024 * 1024,
        maxStreamsPerPrincipal: 64,
        maxLogBytes: Math.floor(HEAP_BYTES / 8),
        detachTimeoutMs: 2000,
        disconnectTimeoutMs: 60_000,
        finishedRetentionMs: 300_000,
        maxQueued: 512,
        maxResponseUnits: 2_000_000,
        maxToolRounds: 8,
        maxToolCallsPerRound: 16,
        toolTimeoutMs: 15_000,
        toolReplyTimeoutMs: 300_000,
        maxToolResultUnits: 16_384,
      },
      mode: 'auto',
      gemini: {
        apiKey: undefined,
        model: 'gemini-2.5-flash',
        baseUrl: undefined,
        concurrency: 32,
        firstChunkSeconds: 30,
        stallSeconds: 60,
        totalSeconds: 0,
      },
      api: undefined,
      openai: {
        apiKey: undefined,
        model: undefined,
        baseUrl: undefined,
        concurrency: 32,
        firstChunkSeconds: 120,
        stallSeconds: 60,
        totalSeconds: 0,
      },
      ollama: {
        host: 'http://127.0.0.1:11434',
        model: undefined,
        numCtx: undefined,
        keepAlive: undefined,
        preload: false,
        loadSeconds: 300,
        concurrency: 1,
        firstChunkSeconds: 300,
        stallSeconds: 60,
        totalSeconds: 0,
      },
      onMidstreamFailure: 'restart',
      systemPrompt: 'You are a helpful assistant. Answer in Markdown.',
      temperature: undefined,
      topP: undefined,
      topK: undefined,
      maxTokens: undefined,
      cache: {
        enabled: true,
        scope: undefined,
        ttlSeconds: 3600,
        maxBytes: Math.floor(HEAP_BYTES / 64),
      },
      logLevel: 'info',
    });
  });

  it('may have a default that is computed', () => {
    const type = wholeNumber(1, 100, 'bytes');
    const setting = { env: 'MAX_BYTES', type, default: () => 5, defaultText: '', description: '' };
    const resolved = (env: Record<string, string>): { maxBytes: number } =>
      resolve<{ maxBytes: number }>({ maxBytes: setting }, {}, env, { name: '', otherOptions: [] });
    expect(resolved({})).toEqual({ maxBytes: 5 });
    expect(resolved({ MAX_BYTES: '6' })).toEqual({ maxBytes: 6 });
  });

  it('have a variable each', () => {
    const variables = Object.values(SETTINGS).map(({ env }) => env);
    expect(new Set(variables).size).toBe(variables.length);
  });

  it('are described in the documentation as in the code', async () => {
    const script = ['--conditions=@rivulet/source', 'scripts/settings-docs.mjs', '--check'];
    await expect(promisify(execFile)(process.execPath, script)).resolves.toBeDefined();
  });

  it('are refused in one error with a line for each problem', () => {
    const refusal = refusalOf(() =>
      resolveSettings({ port: -1, env: { PORT: 'x', LLM_MODE: 'cloud', LLM_TOP_P: '0x1' } }),
    );
    expect(refusal.split('\n')).toEqual([
      'port is -1; it must be a whole number from 0 to 65535',
      'LLM_MODE is "cloud"; it must be one of auto, api, local, hybrid, docs',
      'LLM_TOP_P is "0x1"; it must be a number from 0 to 1',
    ]);
  });

  it.each([
    ['600', 600],
    ['0', 0],
    ['-1', -1],
    ['-1m', '-1m'],
    ['1.5h', '1.5h'],
    ['1h30m10s', '1h30m10s'],
  ])('have a time in memory in each form that Ollama takes (%s)', (text, value) => {
    const { ollama } = resolveSettings({ env: { OLLAMA_KEEP_ALIVE: text } });
    expect(ollama.keepAlive).toBe(value);
  });

  it.each(['10 m', 'm', '10x', '5m and more'])('refuse %j as a time in memory', (text) => {
    expect(refusalOf(() => resolveSettings({ env: { OLLAMA_KEEP_ALIVE: text } }))).toMatch(
      /^OLLAMA_KEEP_ALIVE is/,
    );
  });

  it.each([
    ['ftp://me:p@ss@models.example', 'ftp://(hidden)@models.example'],
    ['me:p@ss@models example', '(hidden)@models example'],
    ['ftp://models.example/?key=p@ss', 'ftp://(hidden)@ss'],
    ['ftp://models.example/?key=abc', 'ftp://models.example/?(hidden)'],
  ])('are refused without the login in a URL (%s)', (url, shown) => {
    const refusal = refusalOf(() => resolveSettings({ env: { OLLAMA_HOST: url } }));
    expect(refusal).toMatch(/^OLLAMA_HOST is/);
    expect(refusal).toContain(`"${shown}"`);
  });

  it('are refused without a key that stands where a group belongs, and without long text', () => {
    const options: object = { gemini: 'AIza-key' };
    expect(refusalOf(() => resolveSettings({ ...options, env: {} }))).toBe(
      'gemini must be an object with the fields apiKey, model, baseUrl, concurrency, firstChunkSeconds, stallSeconds, totalSeconds',
    );
    const env = { LLM_MODE: 'x'.repeat(5000) };
    expect(refusalOf(() => resolveSettings({ env })).length).toBeLessThan(200);
  });

  it.each([
    ['localhost', 'http://localhost:11434'],
    ['localhost:80', 'http://localhost'],
    ['ollama.example/models/', 'http://ollama.example:11434/models'],
    ['0.0.0.0', 'http://127.0.0.1:11434'],
    ['0.0.0.0:1234', 'http://127.0.0.1:1234'],
    ['http://0.0.0.0:1234', 'http://127.0.0.1:1234'],
    ['127.0.0.1:1', 'http://127.0.0.1:1'],
    [':1234', 'http://127.0.0.1:1234'],
    [':1234/models', 'http://127.0.0.1:1234/models'],
    ['::1', 'http://[::1]:11434'],
    ['[::1]', 'http://[::1]:11434'],
    ['[::1]:1234', 'http://[::1]:1234'],
    ['fe80::7', 'http://[fe80::7]:11434'],
    ['::', 'http://[::1]:11434'],
    ['[::]', 'http://[::1]:11434'],
    ['[::]:1234', 'http://[::1]:1234'],
    ['http://[::]:1234', 'http://[::1]:1234'],
    ['http://ollama.example', 'http://ollama.example'],
    ['http://ollama.example:11434/models/', 'http://ollama.example:11434/models'],
    ['HTTPS://ollama.example', 'https://ollama.example'],
    ['https://ollama.example:11434', 'https://ollama.example:11434'],
    ['  localhost:1234\n', 'http://localhost:1234'],
    ['"localhost:1234"', 'http://localhost:1234'],
    [" ' http://localhost:1234 ' ", 'http://localhost:1234'],
    ['""', 'http://127.0.0.1:11434'],
    ['me:p%40ss@localhost', 'http://me:p%40ss@localhost:11434'],
    ['https://me:pass@ollama.example/x', 'https://me:pass@ollama.example/x'],
  ])('take OLLAMA_HOST=%s as Ollama does', (host, url) => {
    expect(resolveSettings({ env: { OLLAMA_HOST: host } }).ollama.host).toBe(url);
  });

  it.each([
    ['0.0.0.0/0', '198.51.100.1', '203.0.113.9'],
    ['::/0', '2001:db8::1', '2001:db8:9::/64'],
    ['0.0.0.0/0,::/0', '203.0.113.1', '203.0.113.9'],
    ['10.0.0.0/255.0.0.0', '10.1.2.3', '203.0.113.9'],
  ])('trust every proxy in TRUSTED_PROXIES=%s', (proxies, remoteAddress, address) => {
    const { trustedProxies } = resolveSettings({ env: { TRUSTED_PROXIES: proxies } });
    const forwarded = address.replace('::/64', '::5');
    const request = { headers: { 'x-forwarded-for': forwarded }, socket: { remoteAddress } };
    expect(addressReader(trustedProxies, createLogger('silent'))(request as never)).toBe(
      address.includes(':') ? '2001:db8:9:0::/64' : address,
    );
  });
});

describe('an option that does not exist', () => {
  it.each<[options: object, message: string]>([
    [{ prot: 80 }, 'prot is not an option of createServer; did you mean port?'],
    [{ PORT: 80 }, 'PORT is not an option of createServer; did you mean port?'],
    [
      { limits: { maxConections: 1 } },
      'limits.maxConections is not an option of createServer; did you mean limits.maxConnections?',
    ],
    [
      { maxConnections: 1 },
      'maxConnections is not an option of createServer; did you mean limits.maxConnections?',
    ],
    [
      { model: 'x' },
      'model is not an option of createServer; did you mean gemini.model or openai.model or ollama.model?',
    ],
    [
      { gemini: { apikey: 'AIza-key' } },
      'gemini.apikey is not an option of createServer; did you mean gemini.apiKey?',
    ],
    [{ tool: [] }, 'tool is not an option of createServer; did you mean tools?'],
    [
      { cache: { whatever: 1 } },
      'cache.whatever is not an option of createServer; the options are cache.enabled, cache.scope, cache.ttlSeconds, cache.maxBytes',
    ],
  ])('is refused: %j', async (options, message) => {
    const error: unknown = await createServer({ ...options, env: {} }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(ConfigError);
    expect((error as ConfigError).message).toBe(message);
  });

  it('is refused where it would have no effect', async () => {
    const options: object = { port: 80, env: {} };
    await expect(createLlmService(options)).rejects.toThrow(
      /^port is not an option of createLlmService/,
    );
  });
});

describe('createServer', () => {
  it('gives its core the limits', async () => {
    const { provider, nextCall } = stage();
    const server = await createServer({
      env: { MAX_RESPONSE_UNITS: '5' },
      logger: createLogger('silent'),
      providers: providersOf(provider),
    });
    const entries = entriesOf(server.llm.generateResponseStream({ query: 'q' }));
    (await nextCall()).say('more than five');
    expect((await entries).at(-1)).toMatchObject({ type: 'error', code: 'too_large' });
    await server.close();
  });

  it.each(['api', 'hybrid'] as const)('refuses the mode %s without an API', async (mode) => {
    await expect(createServer({ mode, env: {} })).rejects.toThrow(
      `LLM_MODE "${mode}" needs GEMINI_API_KEY or OPENAI_API_KEY or OPENAI_BASE_URL, and none is set`,
    );
  });

  it.each([
    ['gemini', { OPENAI_API_KEY: 'k' }, 'GEMINI_API_KEY'],
    ['openai', { GEMINI_API_KEY: 'k' }, 'OPENAI_API_KEY or OPENAI_BASE_URL'],
  ] as const)('refuses LLM_API=%s where only the other is set up', async (api, env, wanted) => {
    await expect(createServer({ mode: 'hybrid', env: { LLM_API: api, ...env } })).rejects.toThrow(
      `LLM_MODE "hybrid" with LLM_API "${api}" needs ${wanted}, which is not set`,
    );
  });

  it.each<[string, (provider: unknown) => unknown[], string]>([
    ['a provider', (own) => [own], 'providers[0] has no provider; did you mean { provider }?'],
    ['nothing', (own) => [{ provider: own }, undefined], 'providers[1] has no provider; give it'],
    ['an empty list', () => [], 'providers is empty'],
  ])('refuses %s in place of { provider }', async (_, providersWith, message) => {
    const providers = providersWith(stage('own').provider) as unknown as Providers;
    const error = await createServer({ providers, env: {} }).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(ConfigError);
    expect(error).toMatchObject({ message: expect.stringContaining(message) });
  });

  it('needs no key when it is given providers', async () => {
    const providers = providersOf(stage('own').provider);
    const server = await createServer({ mode: 'api', providers, env: {} });
    expect(server.providers).toEqual(['own']);
    await server.close();
  });
});

describe('createLlmService', () => {
  it('reads no variable of the server around it', async () => {
    const env = { PORT: 'x', LLM_MODE: 'docs', LOG_LEVEL: 'silent' };
    expect((await createLlmService({ env })).providerStatus()).toMatchObject([{ name: 'docs' }]);
  });
});

describe('attachRivulet', () => {
  const llm = { generateResponseStream: async function* () {} };

  it('reads no environment', () => {
    vi.stubEnv('RATE_LIMIT_REQUESTS', 'x');
    onTestFinished(() => void vi.unstubAllEnvs());
    expect(() => attachRivulet(new Server(), llm).close()).not.toThrow();
  });

  it('checks its options by the same table', () => {
    expect(refusalOf(() => attachRivulet(new Server(), llm, { rateLimit: { requests: 0 } }))).toBe(
      'rateLimit.requests is 0; it must be a whole number from 1 to 1000000',
    );
    const options: object = { limits: { maxToolRounds: 1 }, allowedOrigin: '*' };
    expect(refusalOf(() => attachRivulet(new Server(), llm, options))).toMatch(
      /^limits.maxToolRounds is not an option of attachRivulet; .*\nallowedOrigin is not an option of attachRivulet; did you mean allowedOrigins\?$/,
    );
  });
});

describe('the server process', () => {
  const CLI = ['--conditions=@rivulet/source', '--import', 'tsx', 'packages/server/src/cli.ts'];
  const startWith = (env: Record<string, string>) =>
    startChild(process.execPath, CLI, {
      env: { PORT: '0', LLM_MODE: 'docs', ...env },
      ready: /^rivulet: (\S+)/,
    });

  it('prints one line with its URL when it accepts connections, and exits with 0 on SIGTERM', async () => {
    const child = await startWith({});
    expect((await fetch(`${child.match[1]}/readyz`)).status).toBe(200);
    expect(await child.stop('SIGTERM')).toBe(0);
    const printed = child
      .output()
      .split('\n')
      .filter((line) => !line.startsWith('{'));
    expect(printed.join('\n')).toMatch(/^rivulet: http:\/\/127\.0\.0\.1:\d+ \(docs\)\n$/);
  });

  it('exits at once on wrong values, with a line for each', async () => {
    await expect(startWith({ LLM_MODE: 'cloud', PORT: '80x' })).rejects.toThrow(
      /it ended with 78\n(.|\n)*rivulet: unable to start:\n {2}PORT is "80x"; it must be a whole number from 0 to 65535\n {2}LLM_MODE is "cloud"; it must be one of auto, api, local, hybrid, docs\n/,
    );
  });

  it('names HOST when it is no address of this machine', async () => {
    await expect(startWith({ HOST: '192.0.2.1' })).rejects.toThrow(
      /it ended with 78\n(.|\n)*unable to start: HOST is "192\.0\.2\.1"; it must be an address of this machine/,
    );
  });

  it('says what to do when its port is in use, and exits with 1, so that a restart is tried', async () => {
    const first = await startWith({});
    const port = new URL(first.match[1]!).port;
    await expect(startWith({ PORT: port })).rejects.toThrow(
      new RegExp(
        `it ended with 1\n(.|\n)*unable to start: port ${port} is already in use; set PORT to another port, or to 0 for any free port\n`,
      ),
    );
    await first.stop();
  });

  const eventsOf = (output: string) =>
    output
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);

  it.each([
    ['--help', /^Usage: rivulet-server \[--workers NUMBER\]\n/],
    ['--version', /^\d+\.\d+\.\d+\S*\n$/],
  ])(
    'prints what %s asks for, and exits with 0 whatever the settings are',
    async (option, text) => {
      const cli = ['--conditions=@rivulet/source', '--import', 'tsx', 'packages/server/src/cli.ts'];
      const env = { ...process.env, PORT: 'wrong' };
      const cwd = new URL('../../', import.meta.url);
      const { stdout } = await promisify(execFile)(process.execPath, [...cli, option], {
        env,
        cwd,
      });
      expect(stdout).toMatch(text);
    },
  );

  it('logs a variable that is almost the name of a setting', async () => {
    const child = await startWith({ ALLOWED_ORIGIN: 'https://chat.example' });
    await child.stop('SIGTERM');
    const logged = eventsOf(child.output()).filter(({ event }) => event === 'SETTING_UNKNOWN');
    expect(logged).toEqual([
      expect.objectContaining({
        variable: 'ALLOWED_ORIGIN',
        hint: 'did you mean ALLOWED_ORIGINS?',
      }),
    ]);
    expect(child.output()).not.toContain('chat.example');
  });

  it.each([
    [{ OPENAI_BASE_ULR: 'u' }, ['OPENAI_BASE_URL']],
    [{ GEMINI_API_KEY_FIEL: 'u' }, ['GEMINI_API_KEY_FILE']],
    [{ TRUSTED_PROXY: 'u', LOGLEVEL: 'u' }, ['TRUSTED_PROXIES', 'LOG_LEVEL']],
    [{ GEMINI_KEY: 'u', OPENAI_URL: 'u' }, ['GEMINI_API_KEY', 'OPENAI_BASE_URL']],
    [{ REDIS_HOST: 'u', OLLAMA_URL: 'u' }, ['REDIS_URL', 'OLLAMA_HOST']],
    [{ GEMINI_API_KEY_PATH: 'u' }, ['GEMINI_API_KEY_FILE']],
    [{ OPENAI_API_KEY_SECRET: 'u', RATE_LIMIT: 'u' }, ['OPENAI_API_KEY', 'RATE_LIMIT_REQUESTS']],
    // These belong to other programs, or are not similar enough.
    [{ OLLAMA_MODELS: 'u', LLM_MODEL: 'u', HOSTS: 'u', PORTS: 'u', HOSTNAME: 'u' }, []],
    [{ OLLAMA_ORIGINS: 'u', OPENAI_ORG_ID: 'u', REDIS_PASSWORD: 'u', LOG_FILE: 'u' }, []],
    [{ REDIS_URI: 'u', REDIS_URL: 'u' }, []],
    [{ REDIS_HOST: 'u', REDIS_URL_FILE: 'u' }, []],
    // Kubernetes sets these for services with the names `redis` and `ollama`.
    [{ REDIS_PORT: 'u', REDIS_SERVICE_HOST: 'u', REDIS_PORT_6379_TCP_ADDR: 'u' }, []],
    [{ OLLAMA_PORT: 'u', OLLAMA_SERVICE_HOST: 'u', OLLAMA_PORT_11434_TCP: 'u' }, []],
    [{ OPENAI_API_BASE: 'u', OPENAI_API_TYPE: 'u', OLLAMA_NUM_PARALLEL: 'u' }, []],
    [{ LLM_API_KEY: 'u', HOST_NAME: 'u', PORT_FILE: 'u', ANTHROPIC_API_KEY: 'u' }, []],
  ])('finds the misspelt names in %j', (env, settings) => {
    const found = misspeltVariables(env, Object.values(SETTINGS));
    expect(found.map(({ setting }) => setting)).toEqual(settings);
  });

  it('logs its start, readiness, drain and exit as JSON lines', async () => {
    const child = await startWith({ DRAIN_SECONDS: '7' });
    expect(await child.stop('SIGTERM')).toBe(0);
    const [starting, ready, draining, ended, ...more] = eventsOf(child.output());
    expect(starting).toMatchObject({
      level: 30,
      event: 'SERVER_STARTING',
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      node: process.version,
    });
    expect(ready).toMatchObject({
      event: 'SERVER_READY',
      url: child.match[1],
      providers: ['docs'],
    });
    expect(draining).toMatchObject({
      event: 'SERVER_DRAINING',
      signal: 'SIGTERM',
      drainSeconds: 7,
    });
    expect(ended).toMatchObject({ event: 'SERVER_EXIT', exitCode: 0, reason: 'SIGTERM' });
    expect(more).toEqual([]);
  });

  it('logs that SIGINT ended it', async () => {
    const child = await startWith({});
    expect(await child.stop('SIGINT')).toBe(0);
    expect(eventsOf(child.output()).at(-1)).toMatchObject({ exitCode: 0, reason: 'SIGINT' });
  });

  it('says one line of a wrong value, without a stack and without a key', async () => {
    const env = { GEMINI_API_KEY: 'AIza…', LLM_MODE: 'api' };
    const ended: unknown = await startWith(env).catch((error: Error) => error.message);
    const output = String(ended).split('\n').slice(1).join('\n');
    expect(output).toBe(
      'rivulet: unable to start: GEMINI_API_KEY is (hidden); it must be printable ASCII characters without spaces\n',
    );
    expect(ended).toContain('it ended with 78');
  });
});

describe.each([
  ['GEMINI_API_KEY', 'gemini'],
  ['OPENAI_API_KEY', 'openai'],
] as const)('%s_FILE', (variable, provider) => {
  const keyFile = (content: string | Buffer): string => {
    const folder = mkdtempSync(join(tmpdir(), 'rivulet-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'key');
    writeFileSync(path, content);
    return path;
  };
  /** The key, with `env` for the variable and that of the file. */
  const keyOf = (env: { own?: string; file?: string }, options: { apiKey?: string } = {}) =>
    resolveSettings({
      [provider]: options,
      env: { [variable]: env.own, [`${variable}_FILE`]: env.file },
    })[provider].apiKey;

  it('names a file with the key, whose white space does not count', () => {
    const file = keyFile(' AIza-in-a-file\r\n');
    expect(keyOf({ file })).toBe('AIza-in-a-file');
    expect(keyOf({ own: '', file })).toBe('AIza-in-a-file');
    expect(keyOf({ own: 'k', file: '' })).toBe('k');
  });

  it(`is no choice beside ${variable}, and the option wins over it`, () => {
    const env = { own: 'AIza-a', file: keyFile('AIza-b') };
    expect(refusalOf(() => keyOf(env))).toBe(
      `${variable} and ${variable}_FILE are both set; set only one of them`,
    );
    expect(keyOf(env, { apiKey: 'own' })).toBe('own');
  });

  it.each([
    ['is missing', () => '/nowhere/key', /cannot be read \(ENOENT\)/],
    ['is a folder', () => tmpdir(), /cannot be read \(EISDIR\)/],
    ['is empty', () => keyFile('\n'), /the file must have printable ASCII/],
    ['has two lines', () => keyFile('AIza-one\nAIza-two'), /the file must have printable ASCII/],
    [
      'is binary',
      () => keyFile(Buffer.from([0x41, 0xff, 0])),
      /the file must have printable ASCII/,
    ],
  ])('is refused by its name where the file %s, without its content', (_, path, why) => {
    const refusal = refusalOf(() => keyOf({ file: path() }));
    expect(refusal.startsWith(`${variable}_FILE is "`)).toBe(true);
    expect(refusal).toMatch(why);
    expect(refusal).not.toMatch(/AIza|\n/);
  });
});
