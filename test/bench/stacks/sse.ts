import { once } from 'node:events';
import {
  Agent,
  type ClientRequest,
  createServer,
  request as httpRequest,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { StreamRequest } from '../tokens/upstream.js';
import type { Connection, ServeOptions } from './stack.js';

// Server-sent events by Node.js alone: a `data:` line for each token; the end of the response is the end.

const KEEP_ALIVE_MS = 120_000;

export async function serve({ tokens }: ServeOptions): Promise<number> {
  const answer = async (asked: StreamRequest, response: ServerResponse): Promise<void> => {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
    response.flushHeaders();
    for await (const token of tokens(asked)) {
      if (response.destroyed) return;
      response.write(`data: ${token}\n\n`);
    }
    response.end();
  };
  const server = createServer((request, response) => {
    void text(request).then((body) => answer(JSON.parse(body) as StreamRequest, response));
  });
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

const PREFIX = 'data: ';

export async function connect(url: string): Promise<Connection> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  let sent: ClientRequest | undefined;
  return {
    stream: (request, onText) =>
      new Promise((resolve, reject) => {
        sent = httpRequest(url, { method: 'POST', agent }, (response) => {
          let rest = '';
          response.setEncoding('utf8');
          response.on('data', (data: string) => {
            rest += data;
            let at = 0;
            for (let end = rest.indexOf('\n\n'); end >= 0; end = rest.indexOf('\n\n', at)) {
              onText(rest.slice(at + PREFIX.length, end));
              at = end + 2;
            }
            rest = rest.slice(at);
          });
          response.on('end', resolve);
          response.on('error', reject);
        });
        sent.on('error', reject);
        sent.end(JSON.stringify(request));
      }),
    close() {
      sent?.destroy();
      agent.destroy();
    },
  };
}
