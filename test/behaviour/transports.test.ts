import { describe, expect, it } from 'vitest';
import { attachedServer } from '../harness/attached.js';
import { cuttableLink } from '../harness/link.js';
import { connected, connectionWhen, sdk, snapshotWhen, staged } from '../harness/sdk.js';
import { stage } from '../harness/stage.js';
import { type Upgrade, websocketProxy } from '../harness/websocket-proxy.js';

const ASK = { query: 'What is a delta?' };

const UPGRADES: Upgrade[] = [
  'refuse with 403',
  'answer with 200',
  'cut',
  'open, then cut',
  'never answer',
  'open, then pass nothing down',
];

describe('behind a proxy that does not let WebSockets pass', () => {
  it.each(UPGRADES)('and that lets a handshake %s, an answer comes by polling', async (upgrade) => {
    const { server, nextCall } = await staged();
    const proxy = await websocketProxy(server.url, () => upgrade);
    const answer = sdk(proxy.url).start(ASK);
    const call = await nextCall();
    call.say('It ends.');
    call.finish();
    expect(await answer.result).toMatchObject({ text: 'It ends.' });
    expect(proxy.seen.slice(0, 2)).toEqual(['websocket', 'polling']);
  });

  it('the next connection begins with polling, also after an outage', async () => {
    const { server, calls, nextCall } = await staged();
    const proxy = await websocketProxy(server.url, () => 'cut');
    const link = await cuttableLink(proxy.url);
    const client = sdk(link.url);
    const answer = client.start(ASK);
    const call = await nextCall();
    call.say('Where a ');
    await snapshotWhen(answer, ({ text }) => text !== '');
    link.down();
    await connectionWhen(client, (state) => 'attempts' in state && state.attempts === 2);
    proxy.seen.length = 0;
    link.up();
    call.say('river ends.');
    call.finish();
    expect(await answer.result).toMatchObject({ text: 'Where a river ends.' });
    expect(proxy.seen[0]).toBe('polling');
    expect(calls).toHaveLength(1);
  });
});

describe('a client that may use WebSockets only', () => {
  it('never polls, and connects once WebSockets pass', async () => {
    const { server, nextCall } = await staged();
    const proxy = await websocketProxy(server.url, (nth) => (nth < 3 ? 'cut' : 'pass'));
    const answer = sdk(proxy.url, { transports: ['websocket'] }).start(ASK);
    const call = await nextCall();
    call.say('It ends.');
    call.finish();
    expect(await answer.result).toMatchObject({ text: 'It ends.' });
    expect(new Set(proxy.seen)).toEqual(new Set(['websocket']));
  });
});

describe('a WebSocket that fails once', () => {
  it('is tried again as an upgrade, and is the first choice from then on', async () => {
    const { url, io } = await attachedServer(stage().provider);
    const upgraded = new Promise<void>((resolve) => {
      io.on('connection', ({ conn }) => conn.once('upgrade', () => resolve()));
    });
    const proxy = await websocketProxy(url, (nth) => (nth === 1 ? 'cut' : 'pass'));
    const client = sdk(proxy.url);
    await connected(client);
    await upgraded;
    // The client knows it once a message has come by the WebSocket.
    await client.resume('none').result.catch(() => {});
    const lost = connectionWhen(client, ({ status }) => status === 'reconnecting');
    proxy.seen.length = 0;
    proxy.cut();
    await lost;
    await connectionWhen(client, ({ status }) => status === 'connected');
    expect(proxy.seen).toEqual(['websocket']);
  });
});
