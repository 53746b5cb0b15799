import { EVENT } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { answered } from './suite/answer.js';
import { it } from './suite/it.js';
import { connect, newId } from './suite/peer.js';

// Every reader of this suite checks that each form is used only where it is allowed.

describe('StreamChunkMessage', () => {
  it('is the text for a reader without a window', async () => {
    const { auth, id, text } = await answered();
    const peer = await connect({ auth });
    const reading = await peer.resume({ stream_id: id, offset: 0 });
    await peer.inbox.ended(reading);
    const chunks = reading.messages.filter((message) => message.type === EVENT.chunk);
    expect(chunks.map(({ data }) => data).join('')).toBe(text);
  });
});

describe('ShortChunk', () => {
  it('is the text for a reader with one, by the `ref` of its reply', async () => {
    const { auth, id, text } = await answered();
    const peer = await connect({ auth });
    const data: unknown[] = [];
    peer.socket.on(EVENT.shortChunk, (...args: unknown[]) => void data.push(args));
    const reading = await peer.resume({ stream_id: id, offset: 0, window: 65_536 });
    peer.keepUp(reading);
    await peer.inbox.ended(reading);
    expect(reading.text).toBe(text);
    expect(data[0]).toEqual([reading.reply.ref, 1, expect.any(String)]);
  });

  it('is told apart by `ref` while several streams are read', async ({ player }) => {
    const gate = player.gate();
    const peer = await connect();
    const readings = await Promise.all(
      ['abc', 'def', 'ghi'].map((text) => {
        const steps = text.split('').flatMap((unit) => [{ hold: gate }, { text: unit }]);
        return peer.start({ query: player.script(...steps, { finish: 'stop' }), window: 100 });
      }),
    );
    await player.open(gate);
    for (const reading of readings) await peer.inbox.ended(reading);
    expect(readings.map(({ text }) => text)).toEqual(['abc', 'def', 'ghi']);
  });

  it('goes with the long form for another reader of the same stream', async ({ player }) => {
    const gate = player.gate();
    const query = player.script({ text: 'a' }, { hold: gate }, { text: 'b' }, { finish: 'stop' });
    const auth = { browser_id: newId() };
    const [one, two] = [await connect({ auth }), await connect({ auth })];
    const long = await one.start({ query });
    const short = await two.resume({ stream_id: long.id, offset: 0, window: 100 });
    await one.inbox.until(() => long.text === 'a');
    await two.inbox.until(() => short.text === 'a');
    await player.open(gate);
    await Promise.all([one.inbox.ended(long), two.inbox.ended(short)]);
    expect(short.units).toEqual(long.units);
  });

  it('changes its form when the reader attaches with the other', async ({ player }) => {
    const gate = player.gate();
    const query = player.script({ text: 'a' }, { hold: gate }, { text: 'b' }, { finish: 'stop' });
    const peer = await connect();
    const long = await peer.start({ query });
    await peer.inbox.until(() => long.text === 'a');
    const short = await peer.resume({ stream_id: long.id, offset: 2, window: 100 });
    await player.open(gate);
    await peer.inbox.ended(short);
    expect(short.text).toBe('b');
  });
});
