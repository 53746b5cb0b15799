import { isIP } from 'node:net';
import * as z from 'zod';

/** The environment, read and checked once. PORT 0 is any free port. */
export interface Config {
  host: string;
  port: number;
  mode: 'auto' | 'api' | 'local' | 'hybrid' | 'docs';
  gemini: {
    apiKey: string | undefined;
    model: string;
    baseUrl: string | undefined;
    /** Answers at a time, and so connections. */
    concurrency: number;
  };
  ollama: { host: string; model: string | undefined; concurrency: number };
  /** What a failure after text was shown leads to: the next provider's attempt, or the end. */
  onMidstreamFailure: 'restart' | 'fail';
  /** Requests that may wait for each provider. */
  maxQueued: number;
  temperature: number | undefined;
  topP: number | undefined;
  topK: number | undefined;
  maxTokens: number | undefined;
  systemPrompt: string;
  cache: { enabled: boolean; ttlSeconds: number };
  allowedOrigins: string[] | undefined;
  /** New streams of one principal; an address may start ten times as many. */
  rateLimit: { requests: number; windowSeconds: number };
  /** Addresses and networks of proxies whose `X-Forwarded-For` is believed. */
  trustedProxies: string[];
  /** How long answers under way may go on after SIGTERM. */
  drainMs: number;
  metricsEnabled: boolean;
  logLevel: string;
}

/** An environment variable is wrong; the message has a line for each, naming it, its value and what it may be. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

const number = (what: string, check: (n: number) => boolean) =>
  z
    .string()
    .refine((raw) => raw.trim() !== '' && check(Number(raw)), { error: what })
    .transform(Number);

const wholeNumber = (least: number, most: number, unit = '') =>
  number(
    `a whole number from ${least} to ${most}${unit}`,
    (n) => Number.isInteger(n) && n >= least && n <= most,
  );

const decimal = (least: number, most: number) =>
  number(`a number from ${least} to ${most}`, (n) => n >= least && n <= most);

const oneOf = <const T extends string>(values: readonly T[]) =>
  z.enum(values, { error: `one of ${values.join(', ')}` });

const httpUrl = z
  .string()
  .refine((raw) => URL.canParse(raw) && /^https?:$/.test(new URL(raw).protocol), {
    error: 'an http or https URL, such as https://proxy.example/gemini',
  })
  .transform((raw) => raw.replace(/\/+$/, ''));

const isOrigin = (raw: string): boolean =>
  raw === '*' || (URL.canParse(raw) && new URL(raw).origin === raw);

const PROXY_GROUPS = new Set(['loopback', 'linklocal', 'uniquelocal']);

function isProxy(raw: string): boolean {
  const [address = '', bits, ...more] = raw.split('/');
  const most = isIP(address) === 4 ? 32 : 128;
  const isNetwork = bits === undefined || (/^\d+$/.test(bits) && Number(bits) <= most);
  return PROXY_GROUPS.has(raw) || (isIP(address) !== 0 && isNetwork && more.length === 0);
}

/** As Ollama itself takes it: a URL, or a host with or without a port. */
const ollamaHost = z.string().refine(
  (raw) => {
    const url = raw.includes('://') ? raw : `http://${raw}`;
    return URL.canParse(url) && /^https?:$/.test(new URL(url).protocol);
  },
  { error: 'a URL or a host, such as http://127.0.0.1:11434' },
);

const origins = z
  .string()
  .transform((raw) => raw.split(',').map((origin) => origin.trim()))
  .refine((list) => list.every(isOrigin), {
    error: 'origins parted by commas, such as https://chat.example,http://localhost:5173, or *',
  });

const proxies = z
  .string()
  .transform((raw) => raw.split(',').map((proxy) => proxy.trim()))
  .refine((list) => list.every(isProxy), {
    error: 'addresses or networks parted by commas, such as 10.0.0.0/8,::1, or loopback',
  });

const environment = z.object({
  HOST: z.string().default('127.0.0.1'),
  PORT: wholeNumber(0, 65_535).default(3000),
  LLM_MODE: oneOf(['auto', 'api', 'local', 'hybrid', 'docs']).default('auto'),
  GEMINI_API_KEY: z.string().optional(),
  GEMINI_MODEL: z.string().default('gemini-2.5-flash'),
  GEMINI_BASE_URL: httpUrl.optional(),
  OLLAMA_HOST: ollamaHost.default('http://127.0.0.1:11434'),
  OLLAMA_MODEL: z.string().optional(),
  GEMINI_CONCURRENCY: wholeNumber(1, 10_000).default(32),
  // As many as Ollama answers at a time by its own default (OLLAMA_NUM_PARALLEL). What is sent beyond
  // that waits inside Ollama, where nobody learns how many are ahead and the wait passes for silence.
  OLLAMA_CONCURRENCY: wholeNumber(1, 10_000).default(1),
  LLM_ON_MIDSTREAM_FAILURE: oneOf(['restart', 'fail']).default('restart'),
  LLM_MAX_QUEUED: wholeNumber(0, 1_000_000).default(512),
  LLM_TEMPERATURE: decimal(0, 2).optional(),
  LLM_TOP_P: decimal(0, 1).optional(),
  LLM_TOP_K: wholeNumber(1, 1000).optional(),
  LLM_MAX_TOKENS: wholeNumber(1, 1_000_000).optional(),
  LLM_SYSTEM_PROMPT: z.string().default('You are a helpful assistant. Answer in Markdown.'),
  LLM_CACHE_ENABLED: oneOf(['true', 'false']).default('true'),
  LLM_CACHE_TTL: wholeNumber(1, 31_536_000, ' (seconds)').default(3600),
  ALLOWED_ORIGINS: origins.optional(),
  RATE_LIMIT_REQUESTS: wholeNumber(1, 1_000_000).default(30),
  RATE_LIMIT_WINDOW_SECONDS: wholeNumber(1, 86_400, ' (seconds)').default(60),
  TRUSTED_PROXIES: proxies.optional(),
  DRAIN_SECONDS: wholeNumber(0, 3_600, ' (seconds)').default(20),
  METRICS_ENABLED: oneOf(['true', 'false']).default('true'),
  LOG_LEVEL: oneOf(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
});

const SECRET = new Set(['GEMINI_API_KEY']);

/** A URL may hold a user's name and password. */
function withoutLogin(value = ''): string {
  return value.replace(/^([^@]*\/\/)?[^@]*@/, '$1(hidden)@');
}

/** Throws a `ConfigError`. A variable set to nothing counts as not set. */
export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  const result = environment.safeParse(given);
  if (!result.success) {
    const lines = result.error.issues.map(({ path, message }) => {
      const name = String(path[0]);
      const value = SECRET.has(name) ? '(hidden)' : JSON.stringify(withoutLogin(env[name]));
      return `${name} is ${value}; it may be ${message}`;
    });
    throw new ConfigError(lines.join('\n'));
  }
  const e = result.data;
  if ((e.LLM_MODE === 'api' || e.LLM_MODE === 'hybrid') && e.GEMINI_API_KEY === undefined) {
    throw new ConfigError(
      `GEMINI_API_KEY is not set; LLM_MODE=${e.LLM_MODE} needs it, LLM_MODE may also be auto, local, docs`,
    );
  }
  return {
    host: e.HOST,
    port: e.PORT,
    mode: e.LLM_MODE,
    gemini: {
      apiKey: e.GEMINI_API_KEY,
      model: e.GEMINI_MODEL,
      baseUrl: e.GEMINI_BASE_URL,
      concurrency: e.GEMINI_CONCURRENCY,
    },
    ollama: {
      host: e.OLLAMA_HOST,
      model: e.OLLAMA_MODEL,
      concurrency: e.OLLAMA_CONCURRENCY,
    },
    onMidstreamFailure: e.LLM_ON_MIDSTREAM_FAILURE,
    maxQueued: e.LLM_MAX_QUEUED,
    temperature: e.LLM_TEMPERATURE,
    topP: e.LLM_TOP_P,
    topK: e.LLM_TOP_K,
    maxTokens: e.LLM_MAX_TOKENS,
    systemPrompt: e.LLM_SYSTEM_PROMPT,
    cache: { enabled: e.LLM_CACHE_ENABLED === 'true', ttlSeconds: e.LLM_CACHE_TTL },
    allowedOrigins: e.ALLOWED_ORIGINS,
    rateLimit: { requests: e.RATE_LIMIT_REQUESTS, windowSeconds: e.RATE_LIMIT_WINDOW_SECONDS },
    trustedProxies: e.TRUSTED_PROXIES ?? [],
    drainMs: e.DRAIN_SECONDS * 1000,
    metricsEnabled: e.METRICS_ENABLED === 'true',
    logLevel: e.LOG_LEVEL,
  };
}
