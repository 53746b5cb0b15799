import { EVENT } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { PLAIN } from './suite/answer.js';
import { it } from './suite/it.js';
import { connect, newId } from './suite/peer.js';

describe('StreamReplyMessage', () => {
  it('comes for each request, in their order, before its stream’s messages', async () => {
    const ids = [newId(), newId(), newId()];
    const requests = ids.map((id) => ({ type: EVENT.start, query: PLAIN, stream_id: id }));
    const peer = await connect({ auth: { browser_id: newId(), requests } });
    await peer.inbox.until(() => peer.inbox.opened.length === 3);
    for (const { reading } of peer.inbox.opened) await peer.inbox.ended(reading!);
    expect(peer.inbox.opened.map(({ message }) => message.stream_id)).toEqual(ids);
  });

  it('names the stream as the server made it', async () => {
    const requests = [{ type: EVENT.start, query: PLAIN }];
    const peer = await connect({ auth: { browser_id: newId(), requests } });
    await peer.inbox.until(() => peer.inbox.opened.length === 1);
    const { message, reading } = peer.inbox.opened[0]!;
    expect(message.stream_id).toBe(reading!.id);
    await peer.inbox.ended(reading!);
  });

  it('refuses one request and no other', async () => {
    const id = newId();
    const requests = [
      { type: EVENT.start },
      { type: EVENT.resume, stream_id: id, offset: 0 },
      { type: EVENT.start, query: PLAIN, stream_id: id },
      { type: EVENT.start, query: `${PLAIN} `, stream_id: id },
    ];
    const peer = await connect({ auth: { browser_id: newId(), requests } });
    await peer.inbox.until(() => peer.inbox.opened.length === 4);
    const said = peer.inbox.opened.map(({ message: { stream_id, reply } }) => [
      stream_id,
      reply.ok ? 'ok' : reply.error.code,
    ]);
    expect(said).toEqual([
      [undefined, 'bad_request'],
      [id, 'not_found'],
      [id, 'ok'],
      [id, 'conflict'],
    ]);
    await peer.inbox.ended(peer.inbox.opened[2]!.reading!);
  });
});
