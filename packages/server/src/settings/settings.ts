import { getHeapStatistics } from 'node:v8';
import {
  boolean,
  certificates,
  decimal,
  freeText,
  duration,
  headerValue,
  httpUrl,
  keyPrefix,
  name,
  oneOf,
  ollamaHost,
  origins,
  proxies,
  redisUrl,
  urlPath,
  type ValueType,
  wholeNumber,
} from './value-types.js';

/** Settings of the HTTP server. */
export interface HttpSettings {
  host: string;
  /** 0 for any free port. */
  port: number;
  /** The path of Socket.IO's requests, without a slash at its end. */
  socketPath: string;
  /** The seconds that active streams have to finish after SIGTERM or SIGINT. */
  drainSeconds: number;
  metricsEnabled: boolean;
}

/** Settings of the state that several processes share. */
export interface RedisSettings {
  redis: {
    /** If undefined, processes do not share streams, cache and slots. */
    url: string | undefined;
    /** Certificates in PEM form. */
    ca: string | undefined;
    keyPrefix: string;
    /** The reaction to the loss of a process: `restart` continues its answers in another process. */
    onNodeLoss: 'restart' | 'fail';
  };
}

/** Settings of connections and streams. */
export interface SocketSettings {
  /**
   * Origins whose pages may connect, `https://*.example.com` for subdomains, or `*`. If undefined, pages from
   * this machine may connect.
   */
  allowedOrigins: readonly string[] | undefined;
  /** Addresses and networks of proxies with a trusted `X-Forwarded-For` header. */
  trustedProxies: readonly string[];
  /** The limit of new streams of one principal. An address may start ten times as many. */
  rateLimit: { requests: number; windowSeconds: number };
  limits: SocketLimits;
}

export interface SocketLimits {
  maxConnections: number;
  maxConnectionsPerAddress: number;
  maxConnectionsPerPrincipal: number;
  /** The limit of connections per address that have not entered the namespace yet. */
  maxHandshakesPerAddress: number;
  /** The limits of messages and bytes per second of one connection, on average. */
  maxMessagesPerSecond: number;
  maxBytesPerSecond: number;
  /** The limit of running streams. */
  maxStreamsPerPrincipal: number;
  maxLogBytes: number;
  detachTimeoutMs: number;
  disconnectTimeoutMs: number;
  finishedRetentionMs: number;
}

/** Settings of the streaming core, `LlmService`. */
export interface CoreSettings {
  mode: 'auto' | 'api' | 'local' | 'hybrid' | 'docs';
  /** If undefined, Gemini if it has a key, or else OpenAI. */
  api: 'gemini' | 'openai' | undefined;
  gemini: {
    apiKey: string | undefined;
    model: string;
    baseUrl: string | undefined;
    concurrency: number;
    firstChunkSeconds: number;
    stallSeconds: number;
    totalSeconds: number;
  };
  openai: {
    apiKey: string | undefined;
    model: string | undefined;
    baseUrl: string | undefined;
    concurrency: number;
    firstChunkSeconds: number;
    stallSeconds: number;
    totalSeconds: number;
  };
  ollama: {
    host: string;
    model: string | undefined;
    numCtx: number | undefined;
    keepAlive: string | number | undefined;
    preload: boolean;
    concurrency: number;
    loadSeconds: number;
    firstChunkSeconds: number;
    stallSeconds: number;
    totalSeconds: number;
  };
  onMidstreamFailure: 'restart' | 'fail';
  systemPrompt: string;
  temperature: number | undefined;
  topP: number | undefined;
  topK: number | undefined;
  /** The limit of one answer in tokens. */
  maxTokens: number | undefined;
  cache: {
    enabled: boolean;
    /** If undefined, `principal` with `authenticate`, and `shared` without. */
    scope: 'shared' | 'principal' | undefined;
    ttlSeconds: number;
    maxBytes: number;
  };
  limits: CoreLimits;
  logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
}

export interface CoreLimits {
  /** The limit of requests that wait for one provider. */
  maxQueued: number;
  /** The limit of one answer in UTF-16 units, including the arguments and results of its tools. */
  maxResponseUnits: number;
  maxToolRounds: number;
  maxToolCallsPerRound: number;
  toolTimeoutMs: number;
  /** The milliseconds for which a call may wait for the result or the approval of a client. */
  toolReplyTimeoutMs: number;
  maxToolResultUnits: number;
}

export interface Limits extends SocketLimits, CoreLimits {}

/**
 * Every setting of `createServer`. `docs/server-options.md` describes them; it is generated from the tables
 * below.
 */
export interface Settings
  extends
    HttpSettings,
    RedisSettings,
    Omit<SocketSettings, 'limits'>,
    Omit<CoreSettings, 'limits'> {
  limits: Limits;
}

type Value = string | number | boolean | undefined | readonly unknown[];

/** The settings as options. All of them are optional. */
export type Options<S> = {
  [K in keyof S]?:
    | (S[K] extends Value ? S[K] : { [L in keyof S[K]]?: S[K][L] | undefined })
    | undefined;
};

/** The path of each setting, such as `gemini.apiKey`. */
type Path<S> = {
  [K in keyof S & string]: S[K] extends Value ? K : `${K}.${keyof S[K] & string}`;
}[keyof S & string];

type ValueAt<S, P extends string> = P extends keyof S
  ? S[P]
  : P extends `${infer K extends keyof S & string}.${infer L}`
    ? L extends keyof S[K]
      ? S[K][L]
      : never
    : never;

export type Setting<T> = {
  /** The environment variable. */
  env: string;
  /** The environment variable with the path of a file that contains the value. */
  fileEnv?: string;
  type: ValueType<Exclude<T, undefined>>;
  /** The description for the documentation, in Markdown. */
  description: string;
  /** Error messages hide the value. */
  secret?: true;
} & Default<T>;

type Default<T> =
  | { default: Exclude<T, undefined>; defaultText?: string }
  /** `defaultText` describes the computed value, such as "an eighth of the heap". */
  | { default: () => Exclude<T, undefined>; defaultText: string }
  | (undefined extends T ? { default?: undefined; defaultText: string } : never);

/** One entry for each setting, in the order of the documentation. */
export type SettingTable<S> = { readonly [P in Path<S>]: Setting<ValueAt<S, P>> };

const MIB = 1024 * 1024;
const TIB = 1024 ** 4;
const DAY_MS = 86_400_000;
const DAY_SECONDS = 86_400;
const MAX_COUNT = 1_000_000;
// V8's longest string has about five times as many UTF-16 units.
const MAX_TEXT_UNITS = 100_000_000;

/** An idle connection takes about 30 KB. Connections may take a quarter of the heap. */
const HEAP_BYTES_PER_CONNECTION = 128 * 1024;

/** @returns one part in `parts` of the limit of V8's heap. */
function shareOfHeap(parts: number): number {
  return Math.floor(getHeapStatistics().heap_size_limit / parts);
}

function maxConnections(): number {
  return shareOfHeap(HEAP_BYTES_PER_CONNECTION);
}

export const HTTP_SETTINGS: SettingTable<HttpSettings> = {
  host: {
    env: 'HOST',
    type: name,
    default: '127.0.0.1',
    description: 'The address to listen on. `0.0.0.0` is every IPv4 address, `::` every address.',
  },
  port: {
    env: 'PORT',
    type: wholeNumber(0, 65_535),
    default: 3000,
    description: 'The port to listen on. `0` picks any free port.',
  },
  socketPath: {
    env: 'SOCKET_PATH',
    type: urlPath,
    default: '/socket.io',
    description:
      'The path of Socket.IO’s requests. The client’s option `path` has to be the same. `/healthz`, `/readyz` and `/metrics` keep their paths.',
  },
  drainSeconds: {
    env: 'DRAIN_SECONDS',
    type: wholeNumber(0, 3600, 'seconds'),
    default: 20,
    description:
      'The time that active streams have to finish after SIGTERM or SIGINT. Streams that are still active then fail as retryable.',
  },
  metricsEnabled: {
    env: 'METRICS_ENABLED',
    type: boolean,
    default: true,
    description:
      'Serves metrics for Prometheus at `/metrics`. `npm start` and the `rivulet-server` command do; `createServer` needs the option `metrics`.',
  },
};

export const REDIS_SETTINGS: SettingTable<RedisSettings> = {
  'redis.url': {
    env: 'REDIS_URL',
    fileEnv: 'REDIS_URL_FILE',
    type: redisUrl,
    defaultText: 'none: streams are those of one process',
    description:
      'The Redis that all processes share, as `redis://` or, with TLS, `rediss://`. Streams can then be read, continued and cancelled through each process. See [More than one process](scaling.md).',
    secret: true,
  },
  'redis.ca': {
    env: 'REDIS_CA',
    fileEnv: 'REDIS_CA_FILE',
    type: certificates,
    defaultText: 'the well-known authorities',
    description:
      'The certificates of the authorities that Redis’s own is signed by, for `rediss://`. `REDIS_CA_FILE` names a file with them, instead.',
  },
  'redis.keyPrefix': {
    env: 'REDIS_KEY_PREFIX',
    type: keyPrefix,
    default: 'rivulet:',
    description: 'The beginning of all keys and channels in Redis.',
  },
  'redis.onNodeLoss': {
    env: 'LLM_ON_NODE_LOSS',
    type: oneOf('restart', 'fail'),
    default: 'restart',
    description:
      'The action of another process when the process that generates an answer went away: `restart` begins the text again, as a further attempt; `fail` ends the answer as `interrupted`, with the text so far.',
  },
};

export const SOCKET_SETTINGS: SettingTable<SocketSettings> = {
  allowedOrigins: {
    env: 'ALLOWED_ORIGINS',
    type: origins,
    defaultText: 'the pages of this machine',
    description:
      'The origins whose pages may connect, as browsers send them: `https://chat.example`, with the port if the URL has one; `https://*.chat.example` for every subdomain, but not `https://chat.example` itself; `app://.`, `tauri://localhost`, `capacitor://localhost`, `chrome-extension://ID` or `file://` for apps and extensions; `null` for pages without an origin, such as sandboxed frames. `*` allows every origin.',
  },
  trustedProxies: {
    env: 'TRUSTED_PROXIES',
    type: proxies,
    default: [],
    defaultText: 'none',
    description:
      'The proxies whose `X-Forwarded-For` header is trusted: addresses, networks such as `10.0.0.0/8`, `loopback`, `linklocal` or `uniquelocal`. All visitors behind a proxy that is not trusted share one address and its limits.',
  },
  'rateLimit.requests': {
    env: 'RATE_LIMIT_REQUESTS',
    type: wholeNumber(1, MAX_COUNT),
    default: 30,
    description:
      'The streams that one principal may start in a window. One address may start ten times as many.',
  },
  'rateLimit.windowSeconds': {
    env: 'RATE_LIMIT_WINDOW_SECONDS',
    type: wholeNumber(1, DAY_SECONDS, 'seconds'),
    default: 60,
    description: 'The length of the window in which `rateLimit.requests` are counted.',
  },
  'limits.maxConnections': {
    env: 'MAX_CONNECTIONS',
    type: wholeNumber(1, MAX_COUNT),
    default: () => maxConnections(),
    defaultText: '1 for each 128 KiB of the heap limit',
    description: 'Open connections of all principals. Later connections are refused.',
  },
  'limits.maxConnectionsPerAddress': {
    env: 'MAX_CONNECTIONS_PER_ADDRESS',
    type: wholeNumber(1, MAX_COUNT),
    default: () => Math.ceil(maxConnections() / 8),
    defaultText: '1 for each MiB of the heap limit',
    description:
      'Open connections of one address, such as a company’s network. An IPv6 address is its `/64` network.',
  },
  'limits.maxHandshakesPerAddress': {
    env: 'MAX_HANDSHAKES_PER_ADDRESS',
    type: wholeNumber(1, MAX_COUNT),
    default: 256,
    description:
      'Connections of one address at the same time that have not identified themselves. The oldest idle ones are closed for new ones.',
  },
  'limits.maxMessagesPerSecond': {
    env: 'MAX_MESSAGES_PER_SECOND',
    type: wholeNumber(1, MAX_COUNT),
    default: 200,
    description:
      'Messages that one connection may send, on average; five times as many may come at once. Past it the connection is closed. One address may send 20 times as many.',
  },
  'limits.maxBytesPerSecond': {
    env: 'MAX_BYTES_PER_SECOND',
    type: wholeNumber(1, TIB, 'bytes'),
    default: MIB,
    description: 'Bytes that one connection may send, counted in the same manner.',
  },
  'limits.maxConnectionsPerPrincipal': {
    env: 'MAX_CONNECTIONS_PER_PRINCIPAL',
    type: wholeNumber(1, MAX_COUNT),
    default: 64,
    description: 'Open connections of one principal, such as the tabs and devices of one user.',
  },
  'limits.maxStreamsPerPrincipal': {
    env: 'MAX_STREAMS_PER_PRINCIPAL',
    type: wholeNumber(1, MAX_COUNT),
    default: 64,
    description: 'Active streams of one principal.',
  },
  'limits.maxLogBytes': {
    env: 'MAX_LOG_BYTES',
    type: wholeNumber(1, TIB, 'bytes'),
    default: () => shareOfHeap(8),
    defaultText: 'an eighth of the heap limit',
    description:
      'The memory budget of all streams: their logs, and the requests that are being answered. Almost all of it is in V8’s heap. One principal may use an eighth of it. Past either, finished streams are dropped; then new streams are refused, and running ones fail as `overloaded`: those of the principal that is past its eighth, or of the one that uses the most.',
  },
  'limits.detachTimeoutMs': {
    env: 'DETACH_TIMEOUT_MS',
    type: wholeNumber(0, DAY_MS, 'milliseconds'),
    default: 2000,
    description: 'A stream is cancelled this long after its last reader detached.',
  },
  'limits.disconnectTimeoutMs': {
    env: 'DISCONNECT_TIMEOUT_MS',
    type: wholeNumber(0, DAY_MS, 'milliseconds'),
    default: 60_000,
    description:
      'A stream is cancelled this long after its last reader lost its connection, unless the reader reconnects.',
  },
  'limits.finishedRetentionMs': {
    env: 'FINISHED_RETENTION_MS',
    type: wholeNumber(0, DAY_MS, 'milliseconds'),
    default: 300_000,
    description: 'A finished stream can be read for this long.',
  },
};

function firstChunkSeconds(provider: string, seconds: number): Setting<number> {
  return {
    env: `${provider}_FIRST_CHUNK_SECONDS`,
    type: wholeNumber(0, DAY_SECONDS, 'seconds'),
    default: seconds,
    description:
      'A call fails if nothing has come after this time, not even a thought; 0 for no limit. The retry of a failed call shares this time with the first try.',
  };
}

function stallSeconds(provider: string): Setting<number> {
  return {
    env: `${provider}_STALL_SECONDS`,
    type: wholeNumber(0, DAY_SECONDS, 'seconds'),
    default: 60,
    description: 'A call fails if nothing more comes for this long before its end; 0 for no limit.',
  };
}

function totalSeconds(provider: string): Setting<number> {
  return {
    env: `${provider}_TOTAL_SECONDS`,
    type: wholeNumber(0, DAY_SECONDS, 'seconds'),
    default: 0,
    description:
      'A call fails if it has not ended after this time, also while text comes; 0 for no limit.',
  };
}

export const CORE_SETTINGS: SettingTable<CoreSettings> = {
  mode: {
    env: 'LLM_MODE',
    type: oneOf('auto', 'api', 'local', 'hybrid', 'docs'),
    default: 'auto',
    description:
      'The providers that answer. `api` is Gemini or an OpenAI-compatible server, as `LLM_API` says. `local` is Ollama. `hybrid` is the one of `api`, then Ollama. `docs` is the built-in documentation search. `auto` is the one of `api` if there is any, then Ollama if it is running and has a model that can chat, or else `docs`.',
  },
  api: {
    env: 'LLM_API',
    type: oneOf('gemini', 'openai'),
    defaultText: '`gemini` if `GEMINI_API_KEY` is set, else `openai`',
    description:
      'The provider of the modes `api`, `hybrid` and `auto`. Only one of the two is asked, also where both are set up.',
  },
  'gemini.apiKey': {
    env: 'GEMINI_API_KEY',
    fileEnv: 'GEMINI_API_KEY_FILE',
    type: headerValue,
    defaultText: 'none',
    description:
      'The API key for Gemini. `GEMINI_API_KEY_FILE` names a file with the key, instead; white space around the key does not count.',
    secret: true,
  },
  'gemini.model': {
    env: 'GEMINI_MODEL',
    type: name,
    default: 'gemini-2.5-flash',
    description: 'The Gemini model.',
  },
  'gemini.baseUrl': {
    env: 'GEMINI_BASE_URL',
    type: httpUrl,
    defaultText: 'Google’s endpoint',
    description: 'The URL of the Gemini API, such as that of a proxy.',
  },
  'gemini.concurrency': {
    env: 'GEMINI_CONCURRENCY',
    type: wholeNumber(1, 10_000),
    default: 32,
    description:
      'Calls of Gemini at the same time, each on its own connection. Other requests wait in a queue.',
  },
  'gemini.firstChunkSeconds': firstChunkSeconds('GEMINI', 30),
  'gemini.stallSeconds': stallSeconds('GEMINI'),
  'gemini.totalSeconds': totalSeconds('GEMINI'),
  'openai.apiKey': {
    env: 'OPENAI_API_KEY',
    fileEnv: 'OPENAI_API_KEY_FILE',
    type: headerValue,
    defaultText: 'none',
    description:
      'The API key for OpenAI, or for the server of `OPENAI_BASE_URL`, which may need none. `OPENAI_API_KEY_FILE` names a file with the key, instead; white space around the key does not count.',
    secret: true,
  },
  'openai.model': {
    env: 'OPENAI_MODEL',
    type: name,
    defaultText: '`gpt-5.4-mini`; with `OPENAI_BASE_URL`, the one model that the server lists',
    description:
      'The model of OpenAI, or of the server of `OPENAI_BASE_URL`. A server that lists several models needs it.',
  },
  'openai.baseUrl': {
    env: 'OPENAI_BASE_URL',
    type: httpUrl,
    defaultText: 'OpenAI’s endpoint',
    description:
      'The URL of a server that speaks OpenAI’s chat completions, such as `http://127.0.0.1:8000/v1` (vLLM), `http://127.0.0.1:8080/v1` (llama.cpp), `http://127.0.0.1:1234/v1` (LM Studio), `https://openrouter.ai/api/v1` or `https://api.groq.com/openai/v1`.',
  },
  'openai.concurrency': {
    env: 'OPENAI_CONCURRENCY',
    type: wholeNumber(1, 10_000),
    default: 32,
    description:
      'Calls of the OpenAI-compatible server at the same time, each on its own connection. Other requests wait in a queue. Set it to the number of slots of a server of your own.',
  },
  // OpenAI's models send nothing while they think, and a local server may have to load the model or read the
  // prompt on a CPU.
  'openai.firstChunkSeconds': firstChunkSeconds('OPENAI', 120),
  'openai.stallSeconds': stallSeconds('OPENAI'),
  'openai.totalSeconds': totalSeconds('OPENAI'),
  'ollama.host': {
    env: 'OLLAMA_HOST',
    type: ollamaHost,
    default: 'http://127.0.0.1:11434',
    description: 'The address of Ollama: a URL, or a host with or without a port.',
  },
  'ollama.model': {
    env: 'OLLAMA_MODEL',
    type: name,
    defaultText: 'the newest installed model that can chat',
    description:
      'The Ollama model. `llama3.2` stands in for it until Ollama has told for the first time which models it has.',
  },
  'ollama.numCtx': {
    env: 'OLLAMA_NUM_CTX',
    type: wholeNumber(1, 10_000_000, 'tokens'),
    defaultText: 'Ollama’s own setting',
    description:
      'The size of the model’s context: tokens that the prompt and the answer may have together.',
  },
  'ollama.keepAlive': {
    env: 'OLLAMA_KEEP_ALIVE',
    type: duration,
    defaultText: 'Ollama’s own setting',
    description:
      'How long Ollama keeps the model in memory after an answer; `0` unloads it at once, a negative value keeps it for ever.',
  },
  'ollama.preload': {
    env: 'OLLAMA_PRELOAD',
    type: boolean,
    default: false,
    description:
      'Loads the model as soon as it is found, in the background, so that the first question does not wait for it.',
  },
  'ollama.concurrency': {
    env: 'OLLAMA_CONCURRENCY',
    type: wholeNumber(1, 10_000),
    // Ollama's own default. With a higher value, requests would wait inside of Ollama, where their position
    // in the queue is unknown and the wait looks like a stall.
    default: 1,
    description:
      'Calls of Ollama at the same time. Other requests wait in a queue. To raise it, set Ollama’s own `OLLAMA_NUM_PARALLEL` to the same number.',
  },
  'ollama.loadSeconds': {
    env: 'OLLAMA_LOAD_SECONDS',
    type: wholeNumber(0, DAY_SECONDS, 'seconds'),
    default: 300,
    description:
      'A call fails if Ollama needs longer than this to load the model into memory; 0 for no limit. `ollama.firstChunkSeconds` begins after it.',
  },
  // A model may read a long prompt on a CPU.
  'ollama.firstChunkSeconds': firstChunkSeconds('OLLAMA', 300),
  'ollama.stallSeconds': stallSeconds('OLLAMA'),
  'ollama.totalSeconds': totalSeconds('OLLAMA'),
  onMidstreamFailure: {
    env: 'LLM_ON_MIDSTREAM_FAILURE',
    type: oneOf('restart', 'fail'),
    default: 'restart',
    description:
      'The action when a provider fails after its first text: `restart` lets the next provider begin the answer again; `fail` ends the answer with its text so far.',
  },
  systemPrompt: {
    env: 'LLM_SYSTEM_PROMPT',
    type: freeText,
    default: 'You are a helpful assistant. Answer in Markdown.',
    description: 'The system prompt of every request. Empty means no system prompt.',
  },
  temperature: {
    env: 'LLM_TEMPERATURE',
    type: decimal(0, 2),
    defaultText: 'the model’s default',
    description: 'The sampling temperature. A request may set its own.',
  },
  topP: {
    env: 'LLM_TOP_P',
    type: decimal(0, 1),
    defaultText: 'the model’s default',
    description: 'The nucleus sampling threshold. A request may set its own.',
  },
  topK: {
    env: 'LLM_TOP_K',
    type: wholeNumber(1, 1000),
    defaultText: 'the model’s default',
    description: 'The number of tokens that sampling considers. A request may set its own.',
  },
  maxTokens: {
    env: 'LLM_MAX_TOKENS',
    type: wholeNumber(1, 1_000_000, 'tokens'),
    defaultText: 'the model’s default',
    description: 'The longest answer. A request may ask for a shorter one.',
  },
  'cache.enabled': {
    env: 'LLM_CACHE_ENABLED',
    type: boolean,
    default: true,
    description:
      'Keeps complete answers in the server’s memory and gives them to repeated requests.',
  },
  'cache.scope': {
    env: 'LLM_CACHE_SCOPE',
    type: oneOf('shared', 'principal'),
    defaultText: '`principal` with `authenticate`, else `shared`',
    description:
      'The users who share cached answers and answers that are being generated: with `shared`, every user who asks exactly the same, with the same context and options; with `principal`, each user alone.',
  },
  'cache.ttlSeconds': {
    env: 'LLM_CACHE_TTL',
    type: wholeNumber(1, 31_536_000, 'seconds'),
    default: 3600,
    description: 'A cached answer is used for this long.',
  },
  'cache.maxBytes': {
    env: 'LLM_CACHE_MAX_BYTES',
    type: wholeNumber(1, TIB, 'bytes'),
    default: () => shareOfHeap(64),
    defaultText: '1/64 of the heap limit',
    description:
      'The memory for cached answers. Past it, the least recently used answers are dropped. An answer that needs more than an eighth of it is not cached.',
  },
  'limits.maxQueued': {
    env: 'LLM_MAX_QUEUED',
    type: wholeNumber(0, MAX_COUNT),
    default: 512,
    description:
      'Requests that may wait for one provider. Later requests go to the next provider, or fail as `overloaded`.',
  },
  'limits.maxResponseUnits': {
    env: 'MAX_RESPONSE_UNITS',
    type: wholeNumber(1, MAX_TEXT_UNITS, 'UTF-16 units'),
    default: 2_000_000,
    description:
      'The longest answer, including the arguments and results of its tools. A longer answer fails as `too_large`.',
  },
  'limits.maxToolRounds': {
    env: 'MAX_TOOL_ROUNDS',
    type: wholeNumber(1, 1000),
    default: 8,
    description:
      'Rounds of tool calls in one answer. After them, the model is asked to answer without tools.',
  },
  'limits.maxToolCallsPerRound': {
    env: 'MAX_TOOL_CALLS_PER_ROUND',
    type: wholeNumber(1, 1000),
    default: 16,
    description: 'Tool calls that run in one round. The model gets an error for the others.',
  },
  'limits.toolTimeoutMs': {
    env: 'TOOL_TIMEOUT_MS',
    type: wholeNumber(1, DAY_MS, 'milliseconds'),
    default: 15_000,
    description: 'The time that one tool call may take.',
  },
  'limits.toolReplyTimeoutMs': {
    env: 'TOOL_REPLY_TIMEOUT_MS',
    type: wholeNumber(1, DAY_MS, 'milliseconds'),
    default: 300_000,
    description:
      'The time that a tool call may wait for the approval of a user, or for the result of a client. After it, the model gets an error.',
  },
  'limits.maxToolResultUnits': {
    env: 'MAX_TOOL_RESULT_UNITS',
    type: wholeNumber(1, MAX_TEXT_UNITS, 'UTF-16 units'),
    default: 16_384,
    description: 'The longest result of one tool call, as JSON. A longer result is cut.',
  },
  logLevel: {
    env: 'LOG_LEVEL',
    type: oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'),
    default: 'info',
    description:
      'The lowest level of log events that are written, as JSON lines on standard error. `npm start` uses `warn`.',
  },
};

export const SETTINGS: SettingTable<Settings> = {
  ...HTTP_SETTINGS,
  ...REDIS_SETTINGS,
  ...SOCKET_SETTINGS,
  ...CORE_SETTINGS,
};
