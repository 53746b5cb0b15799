import { parseOllamaHost } from '../../settings/ollama-host.js';

/** The URL of an Ollama, and the headers for a proxy in front of it. */
export interface OllamaAddress {
  /** Without a user name and password: fetch refuses a URL with them, and messages may quote the URL. */
  url: string;
  headers: Readonly<Record<string, string>>;
}

/**
 * Parses `host` in each form that Ollama accepts for `OLLAMA_HOST`.
 *
 * @throws {TypeError} the text is not such an address. The message does not repeat it.
 */
export function toAddress(host: string): OllamaAddress {
  const url = parseOllamaHost(host);
  if (url === undefined) {
    throw new TypeError(
      'unable to use Ollama: its host must be a URL or a host, such as http://127.0.0.1:11434',
    );
  }
  const { username, password } = url;
  url.username = '';
  url.password = '';
  const login = `${decode(username)}:${decode(password)}`;
  return {
    url: url.href,
    headers:
      login === ':' ? {} : { Authorization: `Basic ${Buffer.from(login).toString('base64')}` },
  };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
