import { EVENT } from '@rivulet/protocol';
import { io } from 'socket.io-client';
import { describe, expect, it, onTestFinished } from 'vitest';
import { refused } from '../harness/refused.js';
import { startServer } from '../harness/rivulet.js';
import { sdk } from '../harness/sdk.js';
import { stage } from '../harness/stage.js';

const PATH = '/chat/socket.io';

async function started(path = PATH) {
  const { provider, nextCall } = stage();
  const server = await startServer(provider, {
    env: { SOCKET_PATH: path },
    allowedOrigins: ['https://chat.example'],
    page: (_, response) => void response.end('the page'),
  });
  return { url: server.url, nextCall };
}

function socketAt(url: string, options: object) {
  const socket = io(url, { forceNew: true, reconnection: false, ...options });
  onTestFinished(() => void socket.disconnect());
  return socket;
}

describe('SOCKET_PATH', () => {
  it.each(['websocket', 'polling'])('is where streams are, over %s', async (transport) => {
    const { url, nextCall } = await started();
    const socket = socketAt(url, { path: PATH, transports: [transport] });
    const reply = await socket.emitWithAck(EVENT.start, { query: 'q' });
    expect(reply).toMatchObject({ ok: true });
    await nextCall();
  });

  it('is where a client with the option `path` asks', async () => {
    const { url, nextCall } = await started('/s/');
    const answer = sdk(url, { path: '/s' }).start({ query: 'q' });
    const call = await nextCall();
    call.say('It ends.');
    call.finish();
    expect(await answer.result).toMatchObject({ text: 'It ends.' });
  });

  it('leaves every other path to the server and the page, the usual one of Socket.IO, too', async () => {
    const { url } = await started();
    const ask = async (path: string) => (await fetch(url + path)).text();
    expect(await ask('/healthz')).toBe('up\n');
    expect(await ask('/readyz')).toBe('ready\n');
    expect(await ask('/chat')).toBe('the page');
    expect(await ask('/socket.io/?EIO=4&transport=polling')).toBe('the page');
  });

  it('is as closed to other origins and to JSONP as the usual one', async () => {
    const { url } = await started();
    const extraHeaders = { origin: 'https://evil.example' };
    const socket = socketAt(url, { path: PATH, transports: ['websocket'], extraHeaders });
    expect(await refused(socket)).toMatchObject({ code: 'unauthorized' });
    const handshake = `${url}${PATH}/?EIO=4&transport=polling`;
    expect((await fetch(`${handshake}&j=0`)).status).toBe(400);
    const headers = { 'sec-fetch-site': 'cross-site' };
    expect((await fetch(handshake, { headers })).status).toBe(400);
    expect((await fetch(handshake)).status).toBe(200);
  });
});
