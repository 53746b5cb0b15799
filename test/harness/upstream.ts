import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { onTestFinished } from 'vitest';

export interface UpstreamRequest {
  path: string;
  headers: IncomingMessage['headers'];
  body: unknown;
}

export interface Upstream {
  url: string;
  /** All that came, in order. */
  requests: UpstreamRequest[];
}

/** A server that answers as the test says, until the test has finished. */
export async function startUpstream(
  answer: (request: UpstreamRequest, response: ServerResponse) => unknown,
): Promise<Upstream> {
  const requests: UpstreamRequest[] = [];
  const server = createServer((incoming, response) => {
    void (async () => {
      const hasBody = incoming.method === 'POST';
      const request = {
        path: incoming.url ?? '',
        headers: incoming.headers,
        body: hasBody ? await json(incoming) : undefined,
      };
      requests.push(request);
      await answer(request, response);
    })();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, requests };
}

/** Sends each piece as a packet of its own, then ends the body unless `isCut`. */
export async function sendPieces(
  response: ServerResponse,
  contentType: string,
  pieces: Iterable<string | Uint8Array>,
  isCut = false,
): Promise<void> {
  response.socket?.setNoDelay(true);
  response.writeHead(200, { 'content-type': contentType });
  for (const piece of pieces) {
    if (response.destroyed) return;
    if (piece.length === 0) continue;
    await new Promise((resolve) => response.write(piece, resolve));
    await nextTurn();
  }
  if (isCut) response.destroy();
  else response.end();
}

/** Ways in which a stream may arrive: in one packet, byte by byte, and cut anywhere. */
export function packetings(stream: string): [name: string, packets: Uint8Array[]][] {
  const bytes = Buffer.from(stream);
  const cuts = fc.uniqueArray(fc.nat(bytes.length), { minLength: 1, maxLength: 40 });
  const cutAt = (at: readonly number[]): Uint8Array[] => {
    const ends = [...at.toSorted((a, b) => a - b), bytes.length];
    return ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end));
  };
  return [
    ['in one packet', [bytes]],
    ['byte by byte', cutAt(Array.from(bytes.keys()))],
    ...fc.sample(cuts, { numRuns: 12, seed: 7 }).map((at): [string, Uint8Array[]] => {
      return [`in ${at.length + 1} packets`, cutAt(at)];
    }),
  ];
}
