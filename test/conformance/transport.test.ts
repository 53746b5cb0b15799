import { EVENT, LIMITS } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { PLAIN } from './suite/answer.js';
import { it } from './suite/it.js';
import { connect, newId } from './suite/peer.js';

describe('Transport', () => {
  it.for(['websocket', 'polling'] as const)('is %s', async (transport) => {
    const peer = await connect({ transports: [transport] });
    const reading = await peer.start({ query: PLAIN });
    expect(await peer.inbox.ended(reading)).toMatchObject({ type: EVENT.end });
  });

  it('is one that can be changed in the middle of an answer', async ({ player }) => {
    const gate = player.gate();
    const peer = await connect({ transports: ['polling', 'websocket'] });
    const words = Array.from({ length: 20 }, (_, i) => ({ text: `${i}, ` }));
    const query = player.script(...words, { hold: gate }, ...words, { finish: 'stop' });
    const reading = await peer.start({ query });
    const { engine } = peer.socket.io;
    await peer.inbox.until(() => reading.text.endsWith('19, '));
    if (engine.transport.name === 'polling') {
      await new Promise<void>((resolve) => engine.once('upgrade', () => resolve()));
    }
    await player.open(gate);
    expect(await peer.inbox.ended(reading)).toMatchObject({ type: EVENT.end });
  });

  it('lets a client name the type of a message', async () => {
    const peer = await connect();
    const id = newId();
    const reading = await peer.start({ type: EVENT.start, query: PLAIN, stream_id: id });
    const again = await peer.resume({ type: EVENT.resume, stream_id: id, offset: 0 });
    await peer.done(EVENT.cancel, { type: EVENT.cancel, stream_id: id });
    await peer.inbox.ended(again);
    expect(reading.isOver).toBe(true);
    await peer.done(EVENT.detach, { type: EVENT.detach, stream_id: id });
    await peer.done(EVENT.ack, { type: EVENT.ack, stream_id: id, offset: 0 });
    expect(await peer.ask(EVENT.list, { type: EVENT.list })).toEqual({ ok: true, streams: [] });
  });

  it('ignores a field that it does not know, in any message', async () => {
    const peer = await connect();
    const id = newId();
    const newer = { of_a_newer_client: { deep: [1] }, constructor: 'x' };
    const reading = await peer.start({
      ...newer,
      query: PLAIN,
      stream_id: id,
      options: { ...newer } as object,
      intent: { ...newer, name: 'ask' },
      context: [{ ...newer, role: 'user', content: 'Before.' }],
    });
    await peer.inbox.ended(reading);
    await peer.inbox.ended(await peer.resume({ ...newer, stream_id: id, offset: 0 }));
    for (const event of [EVENT.ack, EVENT.cancel, EVENT.detach]) {
      await peer.done(event, {
        ...newer,
        stream_id: id,
        ...(event === EVENT.ack && { offset: 0 }),
      });
    }
    expect(await peer.ask(EVENT.list, newer)).toMatchObject({ ok: true });
  });

  it('ignores an event that it does not know', async () => {
    const peer = await connect();
    peer.socket.emit('stream_of_a_newer_client', { query: PLAIN });
    expect(await peer.list()).toEqual([]);
  });

  it('takes a message without an acknowledgement', async () => {
    const peer = await connect();
    const reading = peer.emitStart({ query: PLAIN, stream_id: newId() });
    expect(await peer.inbox.ended(reading)).toMatchObject({ type: EVENT.end });
    peer.socket.emit(EVENT.cancel, { stream_id: reading.id });
    peer.socket.emit(EVENT.detach, { stream_id: reading.id });
    expect(await peer.list()).toEqual([]);
    expect(peer.inbox.refusals).toEqual([]);
  });

  it('ends a connection that sends too much in one message, and no other', async () => {
    const auth = { browser_id: newId() };
    const other = await connect({ auth });
    const peer = await connect({ auth });
    peer.socket.emit(EVENT.start, { query: 'x'.repeat(LIMITS.messageBytes) });
    await peer.inbox.until(() => peer.inbox.disconnected);
    expect(await other.list()).toEqual([]);
  });
});
