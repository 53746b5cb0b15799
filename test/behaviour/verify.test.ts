import { createHash } from 'node:crypto';
import { EVENT } from '@rivulet/protocol';
import { Server, type Socket } from 'socket.io';
import { expect, it, onTestFinished } from 'vitest';
import { sdk } from '../harness/sdk.js';

const TEXT = 'Where a river ends.';

/** A server whose text differs from its digest as long as `garble` says so. */
function garblingServer(garble: (read: number) => boolean): { url: string; offsets: number[] } {
  const offsets: number[] = [];
  const io = new Server(0);
  onTestFinished(() => io.close());

  function send(socket: Socket, stream_id: string, offset: number): void {
    offsets.push(offset);
    const stream = { stream_id };
    const attempt = { attempt: 1, source: 'model', provider: 'p', model: 'm' };
    const data = garble(offsets.length) ? TEXT.replace('river', 'rover') : TEXT;
    socket.emit(EVENT.start, { type: EVENT.start, ...stream, offset: 0, ...attempt });
    socket.emit(EVENT.chunk, { type: EVENT.chunk, ...stream, offset: 1, data });
    socket.emit(EVENT.end, {
      type: EVENT.end,
      ...stream,
      offset: 1 + TEXT.length,
      complete: true,
      total_length: TEXT.length,
      finish_reason: 'stop',
      digest: createHash('sha256').update(TEXT).digest('hex'),
      usage: {},
      timing: { total_ms: 1 },
    });
  }

  io.on('connection', (socket) => {
    for (const { stream_id, offset = 0 } of socket.handshake.auth['requests'] ?? []) {
      const reply = { ok: true, stream_id };
      socket.emit(EVENT.reply, { type: EVENT.reply, stream_id, reply });
      send(socket, stream_id, offset);
    }
    socket.on(EVENT.resume, ({ stream_id, offset }, reply) => {
      reply({ ok: true, stream_id });
      send(socket, stream_id, offset);
    });
  });
  const { port } = io.httpServer.address() as { port: number };
  return { url: `http://127.0.0.1:${port}`, offsets };
}

it('takes a code that it does not know for `internal`, with what the server says of retrying', async () => {
  const io = new Server(0);
  onTestFinished(() => io.close());
  io.on('connection', (socket) => {
    const error = { code: 'of_next_year', message: 'unable', retryable: false };
    socket.emit(EVENT.reply, { type: EVENT.reply, reply: { ok: false, error } });
  });
  const { port } = io.httpServer.address() as { port: number };
  const { result } = sdk(`http://127.0.0.1:${port}`).start({ query: 'q' });
  await expect(result).rejects.toMatchObject({ code: 'internal', retryable: false });
});

it('reads an answer again from its start when the text is not the one that was sent', async () => {
  const { url, offsets } = garblingServer((read) => read === 1);
  expect(await sdk(url).start({ query: 'q' }).result).toMatchObject({ status: 'done', text: TEXT });
  expect(offsets).toEqual([0, 0]);
});

it('fails when it is not the second time either, rather than show a wrong text as complete', async () => {
  const { url, offsets } = garblingServer(() => true);
  const answer = sdk(url).start({ query: 'q' });
  await expect(answer.result).rejects.toMatchObject({ code: 'internal', retryable: true });
  expect(answer.getSnapshot().finishReason).toBeUndefined();
  expect(offsets).toEqual([0, 0]);
});

it('reads a log that was created again from its start, past the window', async () => {
  const text = 'x'.repeat(60_000);
  const io = new Server(0);
  onTestFinished(() => io.close());
  const ref = 1;
  let connections = 0;
  io.on('connection', (socket) => {
    connections += 1;
    const isFirst = connections === 1;
    const [{ stream_id: id }] = socket.handshake.auth['requests'] as [{ stream_id: string }];
    const epoch = isFirst ? 'A' : 'B';
    const opened = { ok: true, stream_id: id, status: 'streaming', epoch, attempt: 1, ref };
    const reply = isFirst ? opened : { ...opened, reset: true };
    socket.emit(EVENT.reply, { type: EVENT.reply, stream_id: id, reply });
    const start = { attempt: 1, source: 'model', provider: 'p', model: 'm' };
    socket.emit(EVENT.start, { type: EVENT.start, stream_id: id, offset: 0, ...start });
    let sent = 1;
    const sendTo = (offset: number): void => {
      const to = Math.min(offset, isFirst ? 41_000 : text.length + 1);
      if (to > sent) socket.emit(EVENT.shortChunk, ref, sent, text.slice(sent - 1, to - 1));
      sent = Math.max(sent, to);
      if (isFirst && sent === 41_000) socket.conn.close();
      if (sent <= text.length) return;
      socket.emit(EVENT.end, {
        ...start,
        type: EVENT.end,
        stream_id: id,
        offset: 1 + text.length,
        complete: true,
        total_length: text.length,
        finish_reason: 'stop',
        digest: createHash('sha256').update(text).digest('hex'),
        usage: {},
        timing: { total_ms: 1 },
      });
    };
    // A window as the client asks for it.
    sendTo(16_384);
    socket.on(EVENT.ack, ({ offset }: { offset: number }) => sendTo(offset + 16_384));
  });
  const { port } = io.httpServer.address() as { port: number };
  const answer = sdk(`http://127.0.0.1:${port}`).start({ query: 'q' });
  expect((await answer.result).text).toBe(text);
  expect(connections).toBe(2);
});
