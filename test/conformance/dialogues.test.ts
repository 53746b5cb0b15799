import { EVENT } from '@rivulet/protocol';
import { io } from 'socket.io-client';
import { describe, expect, onTestFinished } from 'vitest';
import { PLAIN } from './suite/answer.js';
import { it } from './suite/it.js';
import { connect, newId } from './suite/peer.js';
import { digestOf } from './suite/reading.js';
import { serverUnderTest } from './suite/server.js';

// Dialogues 4 to 6 are the tests of the messages that they show.

describe('Dialogues', () => {
  it('1: the least a client can do', async () => {
    const socket = io(serverUnderTest().url, { forceNew: true });
    onTestFinished(() => void socket.disconnect());
    let text = '';
    socket.on('stream_chunk', ({ data }: { data: string }) => void (text += data));
    socket.emit('stream_start', { query: PLAIN, session_id: 'session_123' });
    const end = await new Promise<{ session_id: string; digest: string }>((resolve) =>
      socket.on('stream_end', resolve),
    );
    expect([end.session_id, end.digest]).toEqual(['session_123', digestOf(text)]);
  });

  it('2: a cut connection', async ({ player }) => {
    const [gate, id] = [player.gate(), newId()];
    const auth = { browser_id: newId() };
    const query = player.script(
      { text: 'The wea' },
      { hold: gate },
      { text: 'ther …' },
      {
        finish: 'stop',
      },
    );
    const before = await connect({ auth });
    const first = await before.start({ query, stream_id: id, window: 65_536 });
    await before.inbox.until(() => first.text === 'The wea');
    before.socket.io.engine.close();
    const requests = [{ type: EVENT.resume, stream_id: id, offset: first.next, window: 65_536 }];
    const after = await connect({ auth: { ...auth, requests } });
    await after.inbox.until(() => after.inbox.opened.length === 1);
    const rest = after.inbox.opened[0]!.reading!;
    expect(rest.reply.status).toBe('streaming');
    await player.open(gate);
    const end = await after.inbox.ended(rest);
    expect(end).toMatchObject({ type: EVENT.end, digest: digestOf(first.text + rest.text) });
  });

  it('2: a cut connection, before the reply', async ({ player }) => {
    const [gate, id] = [player.gate(), newId()];
    const auth = { browser_id: newId() };
    const query = player.script({ hold: gate }, { text: 'Once.' }, { finish: 'stop' });
    const before = await connect({ auth });
    before.emitStart({ query, stream_id: id });
    await before.caughtUp();
    before.leave();
    const requests = [{ type: EVENT.start, query, stream_id: id }];
    const after = await connect({ auth: { ...auth, requests } });
    await after.inbox.until(() => after.inbox.opened.length === 1);
    expect(await after.list()).toHaveLength(1);
    await player.open(gate);
    const reading = after.inbox.opened[0]!.reading!;
    await after.inbox.ended(reading);
    expect(reading.text).toBe('Once.');
  });

  it('3: stop', async ({ player }) => {
    const auth = { browser_id: newId() };
    const query = player.script({ text: 'So far' }, { hold: player.gate() });
    const [one, two] = [await connect({ auth }), await connect({ auth })];
    const first = await one.start({ query });
    const second = await two.resume({ stream_id: first.id, offset: 0 });
    await two.inbox.until(() => second.text === 'So far');
    await one.done(EVENT.cancel, { stream_id: first.id });
    for (const [peer, reading] of [
      [one, first],
      [two, second],
    ] as const) {
      expect(await peer.inbox.ended(reading)).toMatchObject({ code: 'cancelled', offset: 7 });
    }
  });
});
