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
