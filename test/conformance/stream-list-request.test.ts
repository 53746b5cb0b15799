import { EVENT } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { answered } from './suite/answer.js';
import { it } from './suite/it.js';
import { connect, newId } from './suite/peer.js';

describe('StreamListRequest', () => {
  it('lists no stream that has ended, and none of another principal', async () => {
    const { auth } = await answered();
    expect(await (await connect({ auth })).list()).toEqual([]);
    expect(await (await connect()).list()).toEqual([]);
  });

  it('lists what runs, oldest first, on every connection of the principal', async ({ player }) => {
    const gate = player.gate();
    const auth = { browser_id: newId() };
    const [one, two, stranger] = [
      await connect({ auth }),
      await connect({ auth }),
      await connect(),
    ];
    const waiting = player.script({ hold: gate }, { finish: 'stop' });
    const filler = '-'.repeat(400);
    const streaming = player.script(
      { text: 'abc' },
      { hold: gate },
      { text: filler },
      { finish: 'stop' },
    );
    const first = await one.start({ query: waiting, session_id: 's' });
    const second = await two.start({ query: streaming });
    await two.inbox.until(() => second.text === 'abc');
    const expected = [
      { stream_id: first.id, session_id: 's', query: waiting, status: 'waiting', offset: 0 },
      { stream_id: second.id, query: streaming.slice(0, 256), status: 'streaming', offset: 4 },
    ];
    expect(await one.list()).toEqual(expected);
    expect(await two.list()).toEqual(expected);
    expect(await stranger.list()).toEqual([]);
    await one.done(EVENT.cancel, { stream_id: first.id });
    expect(await one.list()).toEqual(expected.slice(1));
    await player.open(gate);
    await two.inbox.ended(second);
    expect(await one.list()).toEqual([]);
  });
});

describe('StreamChangedMessage', () => {
  it('tells each change of a status to who watches, until it is told not to', async ({
    player,
  }) => {
    const gate = player.gate();
    const auth = { browser_id: newId() };
    const [watcher, asker] = [await connect({ auth }), await connect({ auth })];
    const stranger = await connect();
    for (const peer of [watcher, stranger]) {
      peer.inbox.isWatching = true;
      expect(await peer.ask(EVENT.list, { watch: true })).toEqual({ ok: true, streams: [] });
      expect(await peer.ask(EVENT.list, { watch: true })).toEqual({ ok: true, streams: [] });
    }
    const query = player.script({ hold: gate }, { text: 'abc' }, { finish: 'stop' });
    const stream = await asker.start({ query, session_id: 's' });
    const { changes } = watcher.inbox;
    await watcher.inbox.until(() => changes.length === 1);
    const summary = { stream_id: stream.id, session_id: 's', query };
    expect(changes[0]).toEqual({ ...summary, status: 'waiting', offset: 0 });
    await player.open(gate);
    await watcher.inbox.until(() => changes.at(-1)?.status === 'ended');
    expect(changes.at(-1)).toEqual({ ...summary, status: 'ended', offset: 5 });
    // Fast changes may be told as one.
    expect(['waiting', 'streaming', 'ended']).toEqual(
      expect.arrayContaining(changes.map(({ status }) => status)),
    );
    expect(changes.length).toBeLessThanOrEqual(3);

    const cancelled = await asker.start({ query: player.script({ hold: player.gate() }) });
    await asker.done(EVENT.cancel, { stream_id: cancelled.id });
    await watcher.inbox.until(() => changes.at(-1)?.code === 'cancelled');

    await watcher.ask(EVENT.list, { watch: false });
    watcher.inbox.isWatching = false;
    const last = await asker.start({ query: player.script({ text: 'x' }, { finish: 'stop' }) });
    await asker.inbox.ended(last);
    expect(await watcher.list()).toEqual([]);
    expect(stranger.inbox.changes).toEqual([]);
  });
});
