import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import type { CachedAnswer, Providers, RivuletServer } from '@rivulet/server';
import { createFaultProxy, type FaultProxy } from './fault-proxy.js';
import { createPageCheck } from './page-check.js';
import { createPlainServer } from './plain-server.js';
import { createRecorder } from './recorder.js';

/** A fault that a button causes. `offline` and `slow` end by themselves. */
export type Fault = 'cut' | 'offline' | 'slow' | 'fail-now' | 'fail-later' | 'restart';

/** Starts a server of the demo; called again for each restart. */
export type StartServer = (parts: {
  record: (providers: Providers) => Providers;
  /** @returns false if the request is for something else. */
  serve: (request: IncomingMessage, response: ServerResponse) => boolean;
}) => Promise<RivuletServer>;

/** The server behind "Try to break it": a link that fails on demand, and a server behind it that restarts. */
export interface Lab {
  readonly proxy: FaultProxy;
  server(): RivuletServer;
  close(): Promise<void>;
}

/** An answer in the server's cache. */
export interface StoredText {
  /** The first characters. */
  name: string;
  /** Of the text, in UTF-8. */
  bytes: number;
}

const PREFIX = '/lab/';
const MAX_BODY_UNITS = 200_000;
const MAX_FAULT_MS = 60_000;
/** The panel shows the newest ones. */
const MAX_CACHED = 50;
const NAME_UNITS = 60;
const SLOW_BYTES_PER_SECOND = 1_024;
/** The reply to the request for a fault has this long to arrive; the second is for the slow link. */
const REPLY_MS = 50;
const SLOW_REPLY_MS = 1_000;
/** A process takes about as long to start. */
const RESTART_MS = 1_000;

interface Body {
  ms?: unknown;
  query?: unknown;
  units?: unknown;
}

export async function openLab(start: StartServer): Promise<Lab> {
  const check = createPageCheck();
  const proxy = createFaultProxy();
  const plainServer = createPlainServer(check);
  const recorder = createRecorder(plainServer.listener);
  let replyMs = REPLY_MS;
  let restarting: Promise<void> | undefined;
  let server = await open();

  async function open(): Promise<RivuletServer> {
    const opened = await start({ record: recorder.wrap, serve });
    plainServer.attach(opened.http);
    await opened.listen(0);
    proxy.setTarget(opened.http.address() as AddressInfo);
    return opened;
  }

  async function restart(): Promise<void> {
    proxy.down();
    plainServer.detach();
    await Promise.all([server.close(), wait(RESTART_MS)]);
    server = await open();
    proxy.up();
  }

  const faults: Record<Fault, (body: Body) => void> = {
    cut: () => proxy.cut(),
    offline: temporarily(proxy.down, proxy.up),
    slow: temporarily(
      () => {
        proxy.limit(SLOW_BYTES_PER_SECOND);
        replyMs = SLOW_REPLY_MS;
      },
      () => {
        proxy.limit(undefined);
        replyMs = REPLY_MS;
      },
    ),
    'fail-now': () => recorder.failNow(),
    'fail-later': () => recorder.failLater(),
    restart() {
      restarting ??= restart().finally(() => void (restarting = undefined));
    },
  };

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '').slice(PREFIX.length);
    if (path === 'session' && request.method === 'GET') {
      return check.isLocal(request)
        ? sendJson(response, 200, { token: check.token })
        : sendJson(response, 403, {});
    }
    const token = request.headers['x-lab-token'];
    if (request.method !== 'POST' || !check.isOwnPage(request, String(token))) {
      return sendJson(response, 403, {});
    }
    const body = await readBody(request);
    if (path === 'generated') {
      const { query, units } = body;
      if (typeof query !== 'string' || typeof units !== 'number')
        return sendJson(response, 400, {});
      return sendJson(response, 200, { generated: recorder.find(query, units) ?? null });
    }
    if (path === 'cache') {
      const cached = server.llm.cachedAnswers();
      return sendJson(response, 200, {
        answers: [...cached].slice(0, MAX_CACHED).map(toStoredText),
      });
    }
    if (!isFault(path)) return sendJson(response, 404, {});
    sendJson(response, 202, {});
    setTimeout(() => faults[path](body), replyMs);
  }

  function isFault(path: string): path is Fault {
    return Object.hasOwn(faults, path);
  }

  function serve(request: IncomingMessage, response: ServerResponse): boolean {
    if (!request.url?.startsWith(PREFIX)) return false;
    void answer(request, response);
    return true;
  }

  return {
    proxy,
    server: () => server,
    async close() {
      await restarting;
      plainServer.detach();
      proxy.close();
      await server.close();
    },
  };
}

function toStoredText({ text }: CachedAnswer): StoredText {
  return { name: text.slice(0, NAME_UNITS), bytes: Buffer.byteLength(text) };
}

/** Begins a fault for the time that a request asks for. A second request begins that time again. */
function temporarily(begin: () => void, end: () => void): (body: Body) => void {
  let ending: NodeJS.Timeout | undefined;
  return ({ ms }) => {
    begin();
    clearTimeout(ending);
    ending = setTimeout(end, typeof ms === 'number' ? Math.min(ms, MAX_FAULT_MS) : 0).unref();
  };
}

/**
 * Closes the connection of a body that is too long, so that no reply races with the reset of the connection.
 *
 * @returns an empty body for what is too long or no JSON object.
 */
async function readBody(request: IncomingMessage): Promise<Body> {
  let text = '';
  try {
    for await (const chunk of request.setEncoding('utf8')) {
      text += String(chunk);
      if (text.length > MAX_BODY_UNITS) {
        request.socket.destroy();
        return {};
      }
    }
    const body: unknown = JSON.parse(text || '{}');
    return typeof body === 'object' && body !== null ? body : {};
  } catch {
    return {};
  }
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  response
    .writeHead(status, {
      'content-type': 'application/json',
      'cache-control': 'no-store',
      connection: 'close',
    })
    .end(JSON.stringify(body));
}
