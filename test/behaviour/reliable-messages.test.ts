import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { EVENT } from '@rivulet/protocol';
import { Server } from 'socket.io';
import { expect, it, onTestFinished, vi } from 'vitest';
import { sdk } from '../harness/sdk.js';

type Reply = (reply: object) => void;

it.each([EVENT.cancel, EVENT.detach])(
  'a %s that the server cannot carry out yet is sent again',
  async (event) => {
    const http = createServer();
    const io = new Server(http);
    onTestFinished(() => io.close());
    const sent: unknown[] = [];
    io.on('connection', (socket) => {
      socket.on(EVENT.start, (_message: object, reply: Reply) =>
        reply({ ok: true, status: 'waiting', epoch: 'e', attempt: 0, ref: 1 }),
      );
      socket.on(event, (message: object, reply: Reply) => {
        sent.push(message);
        const error = { code: 'overloaded', message: 'm', retryable: true, retry_after_ms: 20 };
        reply(sent.length < 3 ? { ok: false, error } : { ok: true });
      });
    });
    http.listen(0, '127.0.0.1');
    await once(http, 'listening');
    const answer = sdk(`http://127.0.0.1:${(http.address() as AddressInfo).port}`).start({
      query: 'q',
    });
    await once(io, 'connection');
    if (event === EVENT.cancel) answer.cancel();
    else answer.release();
    await vi.waitFor(() => expect(sent).toHaveLength(3));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(sent).toHaveLength(3);
  },
);
