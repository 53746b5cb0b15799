import type { Readable } from 'node:stream';
import { Agent, request as send } from 'undici';

/**
 * The connections to all providers. The agent has no time limits: Node's built-in fetch fails after 300 s
 * without data, but a local model may need longer, and each call has its own deadlines.
 */
const agent = new Agent({ headersTimeout: 0, bodyTimeout: 0 });

/** The limit of a response that is read as a whole, in bytes. */
const MAX_TEXT_BYTES = 8 * 1024 * 1024;

/** The parts of a request that the clients of the providers give to fetch. */
export interface RequestInit {
  method?: string;
  headers?: ConstructorParameters<typeof Headers>[0];
  body?: string;
  signal: AbortSignal;
}

export interface Response {
  status: number;
  /** True if the status is from 200 to 299. */
  ok: boolean;
  contentType: string;
  /** @returns the first value of the header; undefined if there is none. The name is in lower case. */
  header(name: string): string | undefined;
  body: Body;
}

/** The body of a response. Nothing is read in advance. */
export interface Body {
  /** @returns the bytes since the last call; undefined at the end. Rejects if the connection is closed. */
  read(): Promise<Uint8Array | undefined>;
  /** Reads the whole body as text. Rejects above 8 MiB. */
  text(): Promise<string>;
  /** Reads to the end, so that the connection can be reused. Closes the connection after `withinMs`. */
  drain(withinMs: number): Promise<void>;
  /** Closes the connection. */
  close(): void;
}

/**
 * Sends a request with the shared connections. Does not follow redirects, because they could send the key to
 * another host. undici's `fetch` does the same, but its web streams cost 10 µs more for each token.
 */
export async function request(
  url: string,
  { method = 'GET', headers, body, signal }: RequestInit,
): Promise<Response> {
  const response = await send(url, {
    method: method as 'GET' | 'POST',
    headers: Object.fromEntries(new Headers(headers)),
    body: body ?? null,
    signal,
    dispatcher: agent,
  });
  const { statusCode: status } = response;
  const header = (name: string): string | undefined => [response.headers[name]].flat()[0];
  return {
    status,
    ok: status >= 200 && status < 300,
    contentType: header('content-type') ?? '',
    header,
    body: toBody(response.body),
  };
}

function toBody(stream: Readable): Body {
  let hasEnded = false;
  let failure: Error | undefined;
  let wake = (): void => {};
  stream.on('readable', () => wake());
  stream.on('end', () => {
    hasEnded = true;
    wake();
  });
  // undici destroys an incomplete body with an error in every case.
  stream.on('error', (error) => {
    failure = error;
    wake();
  });

  async function read(): Promise<Uint8Array | undefined> {
    for (;;) {
      if (failure !== undefined) throw failure;
      const bytes: Uint8Array | null = stream.read();
      if (bytes !== null) return bytes;
      if (hasEnded) return undefined;
      await new Promise<void>((resolve) => (wake = resolve));
    }
  }

  return {
    read,
    async text() {
      const pieces: Uint8Array[] = [];
      let size = 0;
      for (let bytes; (bytes = await read()) !== undefined;) {
        size += bytes.length;
        if (size > MAX_TEXT_BYTES) {
          stream.destroy();
          throw new RangeError(`the response has more than ${MAX_TEXT_BYTES} bytes`);
        }
        pieces.push(bytes);
      }
      return Buffer.concat(pieces).toString();
    },
    async drain(withinMs) {
      // The end may have arrived while this process was busy. It is read before an immediate runs.
      const timer = setTimeout(() => setImmediate(() => stream.destroy()), withinMs);
      try {
        while ((await read()) !== undefined);
      } catch {
        // The caller has its result already, so an error of the connection is ignored.
      } finally {
        clearTimeout(timer);
      }
    },
    close: () => void stream.destroy(),
  };
}

/** Converts to a response of fetch, and reads it to its end. */
export async function toFetchResponse({
  status,
  contentType,
  body,
}: Response): Promise<globalThis.Response> {
  const text = await body.text();
  return new globalThis.Response(text === '' ? null : text, {
    status,
    headers: { 'content-type': contentType },
  });
}
