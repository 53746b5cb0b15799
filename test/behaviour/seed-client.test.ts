import { questionOf, mockProvider } from '@rivulet/server';
import { expect, it } from 'vitest';
import { connect } from '../harness/plain-client.js';
import { startServer } from '../harness/rivulet.js';

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
