import { isIP } from 'node:net';
import proxyAddr from 'proxy-addr';
import { parseOllamaHost } from './ollama-host.js';

/** The allowed values of a setting, as a variable of the environment or as an option. */
export interface ValueType<T> {
  /** Completes "it must be …" in the error for a variable. */
  readonly allowed: string;
  /** Replaces `allowed` in the error for an option. */
  readonly allowedOption?: string;
  /** Added to the description in the documentation. */
  readonly range?: string;
  /** The documentation also shows large defaults of this unit in MiB. */
  readonly unit?: Unit;
  /** True if an empty variable is a value. Otherwise it counts as not set. */
  readonly acceptsEmpty?: true;
  /** Converts the text of a variable, without validation. */
  parse(text: string): unknown;
  /** @returns the value in its normal form, or undefined if it is not allowed. */
  check(value: unknown): T | undefined;
}

type Unit = 'bytes' | 'milliseconds' | 'seconds' | 'tokens' | 'UTF-16 units';

const DECIMAL = /^[+-]?\d+(\.\d+)?$/;

/** `Number` would also accept `''`, `0x10` and `1e3`. */
function parseNumber(text: string): unknown {
  return DECIMAL.test(text.trim()) ? Number(text) : text;
}

export function wholeNumber(min: number, max: number, unit?: Unit): ValueType<number> {
  const of = unit === undefined ? '' : ` of ${unit}`;
  return {
    allowed: `a whole number${of} from ${min} to ${max}`,
    range: `A whole number${of} from ${min} to ${max}.`,
    ...(unit && { unit }),
    parse: parseNumber,
    check: (value) =>
      typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max
        ? value
        : undefined,
  };
}

export function decimal(min: number, max: number): ValueType<number> {
  return {
    allowed: `a number from ${min} to ${max}`,
    range: `A number from ${min} to ${max}.`,
    parse: parseNumber,
    check: (value) =>
      typeof value === 'number' && value >= min && value <= max ? value : undefined,
  };
}

export function oneOf<const T extends string>(...values: T[]): ValueType<T> {
  return {
    allowed: `one of ${values.join(', ')}`,
    range: `One of ${values.map((value) => `\`${value}\``).join(', ')}.`,
    parse: (text) => text,
    check: (value) => values.find((known) => known === value),
  };
}

export const boolean: ValueType<boolean> = {
  allowed: 'true or false',
  range: '`true` or `false`.',
  parse: (text) => (text === 'true' || text === 'false' ? text === 'true' : text),
  check: (value) => (typeof value === 'boolean' ? value : undefined),
};

function string(allowed: string, normalize: (text: string) => string | undefined) {
  return {
    allowed,
    parse: (text: string): unknown => text,
    check: (value: unknown) => (typeof value === 'string' ? normalize(value) : undefined),
  };
}

/** Text without white space around it. */
export const name: ValueType<string> = string(
  'text that is not blank',
  (text) => text.trim() || undefined,
);

/** @returns true if the text is allowed as the value of an HTTP header. */
export function isHeaderValue(text: string): boolean {
  return /^[!-~]+$/.test(text);
}

/** Text that is allowed as the value of an HTTP header, without white space around it. */
export const headerValue: ValueType<string> = string(
  'printable ASCII characters without spaces',
  (text) => (isHeaderValue(text.trim()) ? text.trim() : undefined),
);

/** The path of a URL, without a slash at its end. */
export const urlPath: ValueType<string> = string(
  'a path that begins with a slash and is not / alone, such as /socket.io or /chat/socket.io',
  (text) => {
    const path = text.trim().replace(/\/$/, '');
    const segments = path.split('/').slice(1);
    const isPath = path.startsWith('/') && segments.every((segment) => /^[\w.~-]+$/.test(segment));
    return isPath && !segments.some((segment) => /^\.+$/.test(segment)) ? path : undefined;
  },
);

const GO_DURATION =
  /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h)(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))*$/;

/** A text in the format of Go's `time.ParseDuration`, or a number of seconds. */
export const duration: ValueType<string | number> = {
  allowed: 'a duration, such as 10m or 1h30m, or a number of seconds',
  range: 'A duration, such as `10m` or `1h30m`, or a number of seconds.',
  parse: parseNumber,
  check(value) {
    if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
    if (typeof value !== 'string') return undefined;
    const text = value.trim();
    return GO_DURATION.test(text) ? text : undefined;
  },
};

/** Any text, unchanged. */
export const freeText: ValueType<string> = {
  ...string('text', (text) => text),
  acceptsEmpty: true,
};

export const httpUrl: ValueType<string> = string(
  'an http or https URL without user name and password, such as https://api.example/v1',
  (text) => (isHttpUrl(text) && !hasLogin(text) ? text.trim().replace(/\/+$/, '') : undefined),
);

function isHttpUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}

/** @returns true for a URL with a user name or a password, which would not be sent. */
function hasLogin(text: string): boolean {
  const { username, password } = new URL(text);
  return username !== '' || password !== '';
}

/** The URL of a Redis. It may contain a user name and a password. */
export const redisUrl: ValueType<string> = string(
  'a redis or rediss URL, such as rediss://user:password@redis.example:6379/0',
  (text) => (isRedisUrl(text.trim()) ? text.trim() : undefined),
);

function isRedisUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname } = new URL(text);
  return /^rediss?:$/.test(protocol) && hostname !== '';
}

/** Certificates in PEM form. */
export const certificates: ValueType<string> = string(
  'certificates in PEM form, which begin with -----BEGIN CERTIFICATE-----',
  (text) => (text.includes('-----BEGIN CERTIFICATE-----') ? text.trim() : undefined),
);

/**
 * The prefix of the keys in Redis. Braces are not allowed, because they would choose the slot of a cluster.
 */
export const keyPrefix: ValueType<string> = string(
  'at most 64 printable ASCII characters without spaces and braces',
  (text) => (/^[!-z|~]{1,64}$/.test(text.trim()) ? text.trim() : undefined),
);

/** `OLLAMA_HOST` in each form that Ollama accepts. */
export const ollamaHost: ValueType<string> = string(
  'a URL or a host, such as http://127.0.0.1:11434',
  (text) => parseOllamaHost(text)?.href.replace(/\/$/, ''),
);

function list(
  items: string,
  normalize: (item: string) => readonly string[] | undefined,
): ValueType<readonly string[]> {
  return {
    allowed: `comma-separated ${items}`,
    allowedOption: `an array of ${items}`,
    range: 'An array as an option, comma-separated as a variable.',
    parse: (text) => text.split(',').map((item) => item.trim()),
    check(value) {
      if (!Array.isArray(value)) return undefined;
      const checked: string[] = [];
      for (const item of value as unknown[]) {
        const normal = typeof item === 'string' ? normalize(item) : undefined;
        if (normal === undefined) return undefined;
        checked.push(...normal);
      }
      return checked;
    },
  };
}

/** Origins in the form of the `Origin` header, `https://*.example.com` for its subdomains, or `*`. */
export const origins: ValueType<readonly string[]> = list(
  'origins, such as https://chat.example, https://*.chat.example, app://localhost or null, or *',
  (item) => {
    const origin = originOf(item.toLowerCase());
    return origin === undefined ? undefined : [origin];
  },
);

const ORIGIN = /^(?<scheme>[a-z][a-z0-9+.-]*):\/\/(?<wildcard>\*\.)?(?<host>[^/?#@\\*\s]*)\/?$/;
/** Schemes of URLs that are never the origin of a page. */
const NO_PAGE = new Set(['ws', 'wss', 'ftp', 'data', 'blob', 'javascript', 'about']);
const APP_HOST = /^[a-z0-9._-]+(:\d{1,5})?$/;
const DOMAIN = /^[a-z0-9._-]*[a-z_-][a-z0-9._-]*$/;
const IP_ADDRESS = /^[\d.]+$|^\[[\da-f:]+\]$/;

/** @returns the origin in the form of the `Origin` header; undefined if the text is not an origin. */
function originOf(text: string): string | undefined {
  if (text === '*' || text === 'null') return text;
  const match = ORIGIN.exec(text.replace(/^file:\/\/\/$/, 'file://'))?.groups;
  if (match === undefined) return undefined;
  const { scheme = '', wildcard = '', host = '' } = match;
  if (scheme === 'http' || scheme === 'https') {
    if (!URL.canParse(`${scheme}://${host}`)) return undefined;
    const url = new URL(`${scheme}://${host}`);
    const isAddress = wildcard === '' && IP_ADDRESS.test(url.hostname);
    if (!isAddress && !DOMAIN.test(url.hostname)) return undefined;
    return `${scheme}://${wildcard}${url.host}`;
  }
  if (wildcard !== '' || NO_PAGE.has(scheme)) return undefined;
  // Pages of apps and extensions have their own schemes, and pages of files have no host.
  if (scheme === 'file') return host === '' ? 'file://' : undefined;
  return APP_HOST.test(host) ? `${scheme}://${host}` : undefined;
}

const PROXY_GROUPS = new Set(['loopback', 'linklocal', 'uniquelocal']);

/** Addresses and networks in the format of `proxy-addr`. */
export const proxies: ValueType<readonly string[]> = list(
  'addresses or networks, such as 10.0.0.0/8, ::1 or loopback',
  (item) => {
    if (PROXY_GROUPS.has(item)) return [item];
    const [address = '', bits] = item.split('/');
    // `proxy-addr` refuses a prefix of 0 bits, so the whole network is given as two halves.
    const isWhole = bits !== undefined && /^0+$/.test(bits);
    if (isIP(address) === 4 && isWhole) return ['0.0.0.0/1', '128.0.0.0/1'];
    if (isIP(address) === 6 && isWhole) return ['::/1', '8000::/1'];
    return isIP(address) !== 0 && isProxy(item) ? [item] : undefined;
  },
);

function isProxy(item: string): boolean {
  try {
    proxyAddr.compile(item);
    return true;
  } catch {
    return false;
  }
}
