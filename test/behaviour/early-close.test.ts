import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { cuttableLink } from '../harness/link.js';
import { sdk, staged } from '../harness/sdk.js';

const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** Takes every WebSocket and closes it before anything was said on it. */
async function closingServer() {
  const server = createServer();
  const closed = new Promise<void>((resolve) => {
    server.on('upgrade', ({ headers }, socket: Socket) => {
      const key = `${headers['sec-websocket-key']}${WEBSOCKET_GUID}`;
      const accept = createHash('sha1').update(key).digest('base64');
      const head = ['Upgrade: websocket', 'Connection: Upgrade', `Sec-WebSocket-Accept: ${accept}`];
      socket.end(`HTTP/1.1 101 Switching Protocols\r\n${head.join('\r\n')}\r\n\r\n`);
      socket.on('error', () => {});
      resolve();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, closed };
}

describe('a connection that closes before its handshake', () => {
  // Socket.IO by itself would notice only after the time that a connection may take, 15 s.
  it('is noticed at once, and made again', { timeout: 10_000 }, async () => {
    const { url, closed } = await closingServer();
    const { server, nextCall } = await staged();
    const link = await cuttableLink(url);
    const answer = sdk(link.url).start({ query: 'What is a delta?' });
    await closed;
    link.leadTo(server.url);
    const call = await nextCall();
    call.say('It ends.');
    call.finish();
    expect(await answer.result).toMatchObject({ text: 'It ends.' });
  });
});
