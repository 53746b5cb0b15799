import { setTimeout as wait } from 'node:timers/promises';
import { mockProvider, ProviderError, questionOf } from '@rivulet/server';
import { expect, it, onTestFinished } from 'vitest';
import { io, type Socket } from 'socket.io-client';
import { connect } from '../harness/plain-client.js';
import { Polling } from '../harness/polling.js';
import { startServer } from '../harness/rivulet.js';
import { providersOf } from '../harness/providers.js';
import { stage } from '../harness/stage.js';
import { held } from '../harness/tools.js';

const TEXT = 'The weather in New York: ☀️ 21 °C, 風 light 👩‍🚀 — and so on.';

const paced = mockProvider(function* () {
  for (const piece of TEXT.match(/.{1,3}/gsu) ?? []) yield* [{ text: piece }, { waitMs: 1 }];
  yield { finish: 'stop' };
});

// The client of the seed document, word for word but for the display functions.
it("gives the seed's ten-line client the exact text, with no field of ours", async () => {
  const { url } = await startServer(paced);
  const socket = connect(url);
  let typing = false;
  let fullResponse = '';

  const ended = new Promise<Record<string, unknown>>((resolve) => socket.on('stream_end', resolve));
  socket.on('stream_start', () => (typing = true));
  socket.on('stream_chunk', (chunk: { type: string; data: string; session_id: string }) => {
    expect(typing).toBe(true);
    expect(chunk).toMatchObject({ type: 'stream_chunk', session_id: 'session_123' });
    fullResponse += chunk.data;
  });
  socket.on('stream_end', () => (typing = false));
  socket.emit('stream_start', {
    type: 'stream_start',
    query: "What's the weather?",
    session_id: 'session_123',
  });

  expect(await ended).toMatchObject({
    type: 'stream_end',
    complete: true,
    total_length: TEXT.length,
    session_id: 'session_123',
  });
  expect(fullResponse).toBe(TEXT);
  expect(typing).toBe(false);
});

it('keeps two conversations of one seed client apart by their session ids', async () => {
  const { url } = await startServer(
    mockProvider((prompt) => [{ text: questionOf(prompt).toUpperCase() }, { finish: 'stop' }]),
  );
  const socket = connect(url);
  const texts: Record<string, string> = { a: '', b: '' };
  let ends = 0;
  const bothEnded = new Promise<void>((resolve) => {
    socket.on('stream_end', () => ++ends === 2 && resolve());
  });
  socket.on('stream_chunk', (chunk: { data: string; session_id: string }) => {
    texts[chunk.session_id] += chunk.data;
  });
  socket.emit('stream_start', { type: 'stream_start', query: 'one', session_id: 'a' });
  socket.emit('stream_start', { type: 'stream_start', query: 'two', session_id: 'b' });
  await bothEnded;
  expect(texts).toEqual({ a: 'ONE', b: 'TWO' });
});

/** The seed document's page, as it stands; `indicator` has each change of the typing indicator. */
function seedPage(socket: Socket) {
  const page = { fullResponse: '', indicator: [] as ('on' | 'off')[] };
  const showTypingIndicator = () => page.indicator.push('on');
  const hideTypingIndicator = () => page.indicator.push('off');
  socket.on('stream_chunk', (chunk: { data: string }) => {
    page.fullResponse += chunk.data;
  });
  socket.on('stream_start', () => showTypingIndicator());
  socket.on('stream_end', () => hideTypingIndicator());
  const ended = new Promise<void>((resolve) => socket.on('stream_end', () => resolve()));
  const shown = new Promise<void>((resolve) => socket.on('stream_start', () => resolve()));
  return { page, shown, ended };
}

const QUESTION = {
  type: 'stream_start',
  query: "What's the weather?",
  session_id: 'session_123',
  stream_id: 'a-stream',
};

it('shows the typing indicator of the seed page while the model thinks, until the end', async () => {
  const { provider, nextCall } = stage();
  const { url } = await startServer(provider);
  const socket = connect(url);
  const { page, shown, ended } = seedPage(socket);
  socket.emit('stream_start', QUESTION);
  const call = await nextCall();
  await shown;
  expect(page).toEqual({ fullResponse: '', indicator: ['on'] });
  call.say('Sunny.');
  call.finish();
  await ended;
  expect(page).toEqual({ fullResponse: 'Sunny.', indicator: ['on', 'off'] });
});

it.each<
  [string, string, (call: Awaited<ReturnType<ReturnType<typeof stage>['nextCall']>>) => void]
>([
  ['a failure before the first text', '', (call) => call.fail(new Error('no'))],
  [
    'a failure after text',
    'Sun',
    (call) => {
      call.say('Sun');
      call.fail(new Error('no'));
    },
  ],
])('hides the typing indicator of the seed page after %s', async (_, text, fail) => {
  const { provider, nextCall } = stage();
  const { url } = await startServer(provider);
  const socket = connect(url);
  const { page, ended } = seedPage(socket);
  socket.emit('stream_start', QUESTION);
  fail(await nextCall());
  await ended;
  expect(page).toEqual({ fullResponse: text, indicator: ['on', 'off'] });
});

it('hides the typing indicator of the seed page after a stop', async () => {
  const { provider, nextCall } = stage();
  const { url } = await startServer(provider);
  const socket = connect(url);
  const { page, ended } = seedPage(socket);
  const end = new Promise((resolve) => socket.once('stream_end', resolve));
  socket.emit('stream_start', QUESTION);
  await nextCall();
  socket.emit('stream_cancel', { stream_id: 'a-stream' });
  await ended;
  expect(await end).toEqual({
    type: 'stream_end',
    complete: false,
    total_length: 0,
    stream_id: 'a-stream',
    session_id: 'session_123',
    code: 'cancelled',
  });
  expect(page.indicator).toEqual(['on', 'off']);
});

it('ends the answer of the seed page at once where it could only begin again', async () => {
  const [api, local] = [stage('gemini'), stage('ollama')];
  const { url } = await startServer(api.provider, {
    providers: providersOf(api.provider, local.provider),
  });
  const socket = connect(url);
  const { page, ended } = seedPage(socket);
  const failed = new Promise<{ code: string }>((resolve) => socket.on('stream_error', resolve));
  socket.emit('stream_start', QUESTION);
  const call = await api.nextCall();
  call.say('Paris');
  call.fail(new ProviderError('unavailable', 'unable to go on: it is down'));
  await ended;
  expect((await failed).code).toBe('provider_unavailable');
  expect(page).toEqual({ fullResponse: 'Paris', indicator: ['on', 'off'] });
  // The next provider is not asked for an answer that nobody could show.
  expect(local.calls).toHaveLength(0);
});

it('gives the seed page the answer of the next provider where no text was shown', async () => {
  const [api, local] = [stage('gemini'), stage('ollama')];
  const { url } = await startServer(api.provider, {
    providers: providersOf(api.provider, local.provider),
    tools: [held('height').tool],
  });
  const socket = connect(url);
  const { page, ended } = seedPage(socket);
  socket.emit('stream_start', QUESTION);
  const call = await api.nextCall();
  call.callTool('no_such_tool', {});
  call.finish();
  (await api.nextCall()).fail(new ProviderError('unavailable', 'unable to go on: it is down'));
  const next = await local.nextCall();
  next.say('Sunny.');
  next.finish();
  await ended;
  expect(page.fullResponse).toBe('Sunny.');
  expect(page.indicator.at(-1)).toBe('off');
});

it.each(['websocket', 'polling'])(
  'hides the typing indicator when the server closes, by %s',
  async (transport) => {
    const { provider, nextCall } = stage();
    const server = await startServer(provider);
    const socket = io(server.url, { transports: [transport], forceNew: true, reconnection: false });
    onTestFinished(() => void socket.disconnect());
    const { page, ended } = seedPage(socket);
    socket.emit('stream_start', QUESTION);
    const call = await nextCall();
    const begun = new Promise((resolve) => socket.once('stream_chunk', resolve));
    call.say('Sun');
    await begun;
    await Promise.all([server.close(), ended]);
    expect(page).toEqual({ fullResponse: 'Sun', indicator: ['on', 'off'] });
  },
);

it('waits for the next poll of a client with the end, when the server closes', async () => {
  const { provider, nextCall } = stage();
  const server = await startServer(provider);
  const connection = await new Polling(server.url).open();
  const received: string[] = [];
  const receiveUntil = async (event: string) => {
    while (!received.some((packet) => packet.startsWith(`42["${event}"`)))
      received.push(...(await connection.receive()));
  };
  await connection.send(['40']);
  await connection.send([`42${JSON.stringify(['stream_start', QUESTION])}`]);
  (await nextCall()).say('Sun');
  await receiveUntil('stream_chunk');
  const closing = server.close();
  await wait(100);
  await receiveUntil('stream_end');
  await expect(closing).resolves.toBeUndefined();
});
