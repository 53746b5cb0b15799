import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createClient } from '@rivulet/client';
import { EVENT } from '@rivulet/protocol';
import { attachRivulet, createLlmService, createLogger, type LlmService } from '@rivulet/server';
import { Server } from 'socket.io';
import { io as connectTo } from 'socket.io-client';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { attachedServer } from '../harness/attached.js';
import { collect, connect, next } from '../harness/plain-client.js';
import { providersOf } from '../harness/providers.js';
import { refused } from '../harness/refused.js';
import { connected, connectionWhen } from '../harness/sdk.js';
import { stage } from '../harness/stage.js';

describe('Rivulet on a server that is there already', () => {
  it('answers on the namespace of the user’s choice and leaves the others alone', async () => {
    const { provider, nextCall } = stage();
    const { url, io } = await attachedServer(provider, { namespace: '/answers' });
    io.on('connection', (socket) => socket.on('ping-me', (reply) => reply('pong')));
    const own = connect(url);
    expect(await own.emitWithAck('ping-me')).toBe('pong');

    const socket = connect(`${url}/answers`);
    const ended = collect(socket);
    const client = createClient({ url: `${url}/answers`, cache: false });
    onTestFinished(() => client.close());
    await socket.emitWithAck(EVENT.start, { query: 'q' });
    const { result } = client.start({ query: 'p' });
    for (const text of ['Where a river ends.', 'It ends.']) {
      const call = await nextCall();
      call.say(text);
      call.finish();
    }
    expect(await ended).toMatchObject({ text: 'Where a river ends.' });
    expect(await result).toMatchObject({ text: 'It ends.' });
  });

  it('refuses a path of `url` that is no namespace, and says what to give instead', async () => {
    const { url } = await attachedServer(stage().provider);
    const client = createClient({ url: `${url}/rivulet`, cache: false });
    onTestFinished(() => client.close());
    await expect(client.start({ query: 'q' }).result).rejects.toMatchObject({
      code: 'bad_request',
      retryable: false,
      message: expect.stringMatching(/no namespace with the path of `url`.*as `path`/),
    });
  });

  it('is found again where the namespace is created after the server has restarted', async () => {
    const { provider, nextCall } = stage();
    const { url, io } = await attachedServer(provider, { namespace: '/answers' });
    const client = createClient({ url: `${url}/answers`, cache: false });
    onTestFinished(() => client.close());
    await connected(client);
    const namespaces = io['_nsps'];
    const answers = namespaces.get('/answers')!;
    namespaces.delete('/answers');
    answers.disconnectSockets(true);
    await connectionWhen(client, (state) => 'attempts' in state && state.attempts > 1);
    namespaces.set('/answers', answers);
    const { result } = client.start({ query: 'q' });
    const call = await nextCall();
    call.say('It ends.');
    call.finish();
    expect(await result).toMatchObject({ text: 'It ends.' });
  });

  it.each([{}, { skipMiddlewares: false }])(
    'refuses a server with connectionStateRecovery %j, and says why',
    async (connectionStateRecovery) => {
      const io = new Server({ connectionStateRecovery });
      const llm = { generateResponseStream: vi.fn<LlmService['generateResponseStream']>() };
      expect(() => attachRivulet(io, llm)).toThrow(
        /connectionStateRecovery, which replays messages/,
      );
    },
  );

  it('answers on a server that listens only later', async () => {
    const { provider } = stage();
    const io = new Server();
    const logger = createLogger('silent');
    const llm = await createLlmService({ env: {}, logger, providers: providersOf(provider) });
    const rivulet = attachRivulet(io, llm, { logger });
    onTestFinished(async () => {
      rivulet.close();
      await io.close();
    });
    const http = createServer();
    io.attach(http);
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    const { port } = http.address() as AddressInfo;
    for (let i = 0; i < 2; i++) {
      const socket = connect(`http://127.0.0.1:${port}`);
      expect(await socket.emitWithAck(EVENT.list, {})).toMatchObject({ ok: true });
    }
  });

  it('lets in pages of this machine, or those that are named, and no others', async () => {
    const from = (url: string, origin: string) => {
      const socket = connectTo(url, {
        transports: ['websocket'],
        extraHeaders: { origin },
        forceNew: true,
      });
      onTestFinished(() => void socket.disconnect());
      return socket;
    };
    const { url } = await attachedServer(stage().provider);
    await next(from(url, 'http://localhost:5173'), 'connect');
    expect(await refused(from(url, 'https://chat.example'))).toMatchObject({
      code: 'unauthorized',
    });
    const named = await attachedServer(stage().provider, {
      allowedOrigins: ['https://chat.example'],
    });
    await next(from(named.url, 'https://chat.example'), 'connect');
    await refused(from(named.url, 'https://chat.example.evil'));
  });
});
