import { createServer, type IncomingMessage, request as ask } from 'node:http';
import { connect, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/** The proxy's reaction to a request for an upgrade to WebSocket. */
export type Upgrade =
  | 'pass'
  | 'refuse with 403'
  | 'answer with 200'
  | 'cut'
  | 'never answer'
  | 'open, then pass nothing down'
  | 'open, then cut';

export interface WebSocketProxy {
  readonly url: string;
  /** The requests so far: `websocket` for an upgrade, else `polling`. */
  readonly seen: ('websocket' | 'polling')[];
  /** Breaks every connection. */
  cut(): void;
}

/**
 * An HTTP proxy before a server, of a kind that does not know WebSocket.
 *
 * @param upgrade says what it does with each request to upgrade, counted from 1.
 */
export async function websocketProxy(
  target: string,
  upgrade: (nth: number) => Upgrade,
): Promise<WebSocketProxy> {
  const { hostname: host, port } = new URL(target);
  const open = new Set<Socket>();
  let asked = 0;
  const server = createServer((request, response) => {
    proxy.seen.push('polling');
    const { method, headers, url: path } = request;
    const onward = ask({ host, port, path, method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    request.pipe(onward);
  });
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => open.delete(socket));
  });
  server.on('upgrade', (request, near: Socket) => {
    proxy.seen.push('websocket');
    upgrades[upgrade(++asked)](request, near);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  /** Opens a WebSocket at the server; `down` gets each piece that the server sends. */
  function through(request: IncomingMessage, near: Socket, down: (piece: Buffer) => void): void {
    const far = connect(Number(port), host, () => {
      const headers = Object.entries(request.headers).map(
        ([name, value]) => `${name}: ${String(value)}`,
      );
      far.write(`GET ${request.url} HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n`);
    });
    near.pipe(far);
    far.on('data', down);
    far.on('error', () => near.destroy());
    far.on('close', () => near.destroy());
    near.on('close', () => far.destroy());
  }

  /** Passes on the response of the handshake, and nothing more. */
  function headOnly(request: IncomingMessage, near: Socket, then: () => void): void {
    let isOpen = false;
    through(request, near, (piece) => {
      if (isOpen) return;
      isOpen = true;
      near.write(piece.subarray(0, piece.indexOf('\r\n\r\n') + 4), then);
    });
  }

  const upgrades: Record<Upgrade, (request: IncomingMessage, near: Socket) => void> = {
    pass: (request, near) => through(request, near, (piece) => near.write(piece)),
    'refuse with 403': (_, near) =>
      near.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'),
    'answer with 200': (_, near) =>
      near.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'),
    cut: (_, near) => near.destroy(),
    'never answer': () => {},
    'open, then pass nothing down': (request, near) => headOnly(request, near, () => {}),
    'open, then cut': (request, near) => headOnly(request, near, () => near.destroy()),
  };
  const { port: own } = server.address() as { port: number };
  const cut = (): void => open.forEach((socket) => socket.destroy());
  const proxy: WebSocketProxy = { url: `http://127.0.0.1:${own}`, seen: [], cut };
  onTestFinished(() => {
    cut();
    server.close();
  });
  return proxy;
}
