import { afterEach, describe, expect, it, vi } from 'vitest';
import { absoluteUrl } from '../../packages/client/src/connection/socket.js';
import { attachedServer } from '../harness/attached.js';
import { connected, connectionWhen, sdk, snapshotWhen, statusesOf } from '../harness/sdk.js';
import { stage } from '../harness/stage.js';

describe('the URL of a server', () => {
  afterEach(() => vi.unstubAllGlobals());

  it.each([
    ['https://chat.example', 'https://chat.example'],
    ['https://chat.example/answers', 'https://chat.example/answers'],
    ['chat.example:3000/answers', 'http://chat.example:3000/answers'],
    ['//chat.example', 'http://chat.example'],
    ['/answers', 'http://page.example:8080/answers'],
    [undefined, 'http://page.example:8080/'],
  ])('%s is completed by that of the page', (url, absolute) => {
    vi.stubGlobal('location', { protocol: 'http:', host: 'page.example:8080' });
    expect(absoluteUrl(url)).toBe(absolute);
  });

  it.each([
    ['https://chat.example', 'https://chat.example'],
    ['chat.example:3000', 'https://chat.example:3000'],
    ['//chat.example', undefined],
    ['/answers', undefined],
    [undefined, undefined],
  ])('%s is %s where there is no page', (url, absolute) => {
    expect(absoluteUrl(url)).toBe(absolute);
  });

  it('is no file', () => {
    vi.stubGlobal('location', { protocol: 'file:', host: '' });
    expect(absoluteUrl(undefined)).toBeUndefined();
  });
});

/** Messages that no server of Rivulet sends, or that end a connection. */
const JUNK = ['9', '2["unfinished', '4', '1', Buffer.from('c')];

describe('a connection', () => {
  it.each(JUNK)('is made again after %o, and an answer goes on', async (junk) => {
    const { provider, calls, nextCall } = stage();
    const { url, io } = await attachedServer(provider);
    const client = sdk(url);
    const answer = client.start({ query: 'What is a delta?' });
    const call = await nextCall();
    call.say('Where a ');
    await snapshotWhen(answer, ({ text }) => text !== '');
    const [socket] = await io.fetchSockets();
    const raw = io.sockets.sockets.get(socket!.id)!.conn;
    const isLost = connectionWhen(client, ({ status }) => status === 'reconnecting');
    raw.write(junk);
    await isLost;
    call.say('river ends.');
    call.finish();
    expect(await answer.result).toMatchObject({ text: 'Where a river ends.' });
    expect(calls).toHaveLength(1);
  });

  it('ignores what it did not ask for, and what is for another namespace', async () => {
    const { provider } = stage();
    const { url, io } = await attachedServer(provider);
    const client = sdk(url);
    await connected(client);
    const statuses = statusesOf(client);
    const [socket] = await io.fetchSockets();
    const raw = io.sockets.sockets.get(socket!.id)!.conn;
    raw.write('0{"sid":"again"}');
    raw.write('3999[{"ok":true}]');
    raw.write('4/other,{"message":"no"}');
    raw.write('2["unknown",{}]');
    const answer = client.resume('none');
    await answer.result.catch(() => {});
    expect(answer.getSnapshot()).toMatchObject({ status: 'failed', error: { code: 'not_found' } });
    expect(statuses).toEqual(['connected']);
  });
});
