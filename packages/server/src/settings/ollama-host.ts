const DEFAULT_PORT = '11434';
const DEFAULT_HOST = '127.0.0.1';

/** The addresses for listening on all interfaces, each with an address that clients can connect to. */
const LISTENS_EVERYWHERE: Readonly<Record<string, string>> = {
  '0.0.0.0': '127.0.0.1',
  '[::]': '[::1]',
};

/**
 * Parses an address of Ollama in every form that Ollama accepts for `OLLAMA_HOST`: a URL, or a host or a port
 * or both, with or without a path, with white space or quotes around it.
 *
 * @returns the URL of Ollama, including a user name and password, if any; undefined if the text is not such
 * an address.
 */
export function parseOllamaHost(text: string): URL | undefined {
  const trimmed = text
    .trim()
    .replace(/^["']+|["']+$/g, '')
    .trim();
  const [, scheme, rest = ''] = /^(?:([a-z][a-z0-9+.-]*):\/\/)?(.*)$/is.exec(trimmed) ?? [];
  const url = toUrl(scheme?.toLowerCase() ?? 'http', rest);
  if (url === undefined || !/^https?:$/.test(url.protocol)) return undefined;
  if (scheme === undefined && url.port === '' && !hasPort(rest)) url.port = DEFAULT_PORT;
  url.hostname = LISTENS_EVERYWHERE[url.hostname] ?? url.hostname;
  url.search = '';
  url.hash = '';
  url.pathname = url.pathname.replace(/\/+$/, '');
  return url;
}

function toUrl(scheme: string, rest: string): URL | undefined {
  const [, login = '', host = '', path = ''] = /^([^/?#]*@)?([^/?#]*)(.*)$/s.exec(rest) ?? [];
  if (/\s/.test(rest)) return undefined;
  const text = `${scheme}://${login}${withHost(host)}${path}`;
  return URL.canParse(text) ? new URL(text) : undefined;
}

/** Ollama accepts a port alone, and an IPv6 address without brackets. */
function withHost(host: string): string {
  if (host === '' || /^:\d*$/.test(host)) return `${DEFAULT_HOST}${host}`;
  return /^[\da-f]*:[\da-f]*:[\da-f:.]*$/i.test(host) ? `[${host}]` : host;
}

/** `URL` drops the default port of the scheme. */
function hasPort(rest: string): boolean {
  return /^[^/?#]*:80(?:[/?#]|$)/.test(rest) && !/^[\da-f]*:[\da-f]*:/i.test(rest);
}
