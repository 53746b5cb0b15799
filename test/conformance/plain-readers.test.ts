import { EVENT } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { answered } from './suite/answer.js';
import { it } from './suite/it.js';
import { connect, newId } from './suite/peer.js';
import type { Reading } from './suite/reading.js';

const types = ({ messages }: Reading): string[] => messages.map(({ type }) => type);

describe('StreamAcceptedMessage', () => {
  it('comes at once, while the model is still silent, without provider and model', async ({
    player,
  }) => {
    const gate = player.gate();
    const peer = await connect();
    const query = player.script({ hold: gate }, { text: 'x' }, { finish: 'stop' });
    const reading = await peer.start({ query, session_id: 'session_123' });
    await peer.inbox.until(() => reading.messages.length > 0);
    expect(reading.messages).toEqual([
      {
        type: EVENT.start,
        stream_id: reading.id,
        session_id: 'session_123',
        offset: 0,
        attempt: 1,
      },
    ]);
    await player.open(gate);
    await peer.inbox.ended(reading);
    expect(types(reading)).toEqual([EVENT.start, EVENT.chunk, EVENT.end]);
  });

  it('comes before the place in a queue', async ({ player }) => {
    const { url } = await player.serve('one_place');
    const gate = player.gate();
    const query = player.script({ hold: gate }, { text: 'x' }, { finish: 'stop' });
    const peer = await connect({ url });
    const first = await peer.start({ query });
    const second = await peer.start({ query: player.script({ text: 'y' }, { finish: 'stop' }) });
    await peer.inbox.until(() => second.messages.length === 2);
    expect(types(second)).toEqual([EVENT.start, EVENT.queued]);
    await player.open(gate);
    await peer.inbox.ended(first);
    await peer.inbox.ended(second);
  });

  it('is not for a reader with a window, nor for one that resumes above 0', async ({ player }) => {
    const [gate, id] = [player.gate(), newId()];
    const peer = await connect();
    const query = player.script({ text: 'abc' }, { hold: gate }, { finish: 'stop' });
    const first = await peer.start({ query, stream_id: id, window: 100 });
    await peer.inbox.until(() => first.text === 'abc');
    const second = await peer.resume({ stream_id: id, offset: 3 });
    await player.open(gate);
    await peer.inbox.ended(second);
    expect(types(second)).toEqual([EVENT.chunk, EVENT.end]);
  });

  it('counts as the first entry: a plain reader resumes after it before there is one', async ({
    player,
  }) => {
    for (const last of [{ text: 'x' }, { fail: 'content_filter' }] as const) {
      const [gate, id] = [player.gate(), newId()];
      const auth = { browser_id: newId() };
      const query = player.script({ hold: gate }, last, { finish: 'stop' });
      const before = await connect({ auth });
      const first = await before.start({ query, stream_id: id });
      await before.inbox.until(() => first.next === 1);
      before.leave();
      const after = await connect({ auth });
      const second = await after.resume({ stream_id: id, offset: first.next });
      await player.open(gate);
      await after.inbox.ended(second);
      const late = await after.resume({ stream_id: id, offset: 1 });
      await after.inbox.ended(late);
      expect(late.units).toEqual(second.units);
      expect(types(second).at(-1)).toBe(EVENT.end);
    }
  });
});

describe('StreamIncompleteMessage', () => {
  it('follows the error of a model that broke off', async ({ player }) => {
    const peer = await connect();
    const query = player.script({ text: 'So far' }, { fail: 'content_filter' });
    const reading = await peer.start({ query, session_id: 's' });
    await peer.inbox.ended(reading);
    expect(types(reading)).toEqual([EVENT.start, EVENT.chunk, EVENT.error, EVENT.end]);
    expect(reading.messages.at(-1)).toEqual({
      type: EVENT.end,
      stream_id: reading.id,
      session_id: 's',
      complete: false,
      total_length: 6,
      code: 'content_filter',
    });
  });

  it('follows the error of a model that never answered, and of a stop', async ({ player }) => {
    const peer = await connect();
    const failed = await peer.start({ query: player.script({ fail: 'content_filter' }) });
    await peer.inbox.ended(failed);
    expect(types(failed)).toEqual([EVENT.start, EVENT.error, EVENT.end]);
    const [gate, stopped, id] = [player.gate(), player.gate(), newId()];
    const query = player.script({ hold: gate, given_up: stopped }, { finish: 'stop' });
    const reading = await peer.start({ query, stream_id: id });
    await peer.done(EVENT.cancel, { stream_id: id });
    await peer.inbox.ended(reading);
    expect(reading.messages.at(-1)).toMatchObject({ complete: false, code: 'cancelled' });
    const late = await peer.resume({ stream_id: id, offset: 0 });
    await peer.inbox.ended(late);
    expect(types(late)).toEqual(types(reading));
  });

  it('does not come for a reader with a window', async ({ player }) => {
    const peer = await connect();
    const query = player.script({ text: 'So far' }, { fail: 'content_filter' });
    const reading = await peer.start({ query, window: 100 });
    await peer.inbox.ended(reading);
    await peer.caughtUp();
    expect(types(reading).at(-1)).toBe(EVENT.error);
  });
});

describe('Plain readers', () => {
  const further = [
    { text: 'Paris' },
    { fail: 'unavailable' },
    { text: 'The capital' },
    { finish: 'stop' },
  ] as const;

  it('have a stream end where its text would begin again', async ({ player }) => {
    const peer = await connect();
    const reading = await peer.start({ query: player.script(...further) });
    const terminal = await peer.inbox.ended(reading);
    expect(terminal).toMatchObject({ type: EVENT.error, offset: 6 });
    expect(reading.text).toBe('Paris');
    expect(reading.messages.at(-1)).toMatchObject({ complete: false, total_length: 5 });
  });

  it('do not end the same answer of a stream that they do not read', async ({ player }) => {
    const gate = player.gate();
    const [text, ...rest] = further;
    const query = player.script(text, { hold: gate }, ...rest);
    const auth = { browser_id: newId() };
    const [one, two] = [await connect({ auth }), await connect({ auth })];
    const plain = await one.start({ query });
    const windowed = await two.start({ query, window: 1_000 });
    await one.inbox.until(() => plain.text === 'Paris');
    await two.inbox.until(() => windowed.text === 'Paris');
    await player.open(gate);
    expect(await one.inbox.ended(plain)).toMatchObject({ type: EVENT.error });
    expect(await two.inbox.ended(windowed)).toMatchObject({ type: EVENT.end });
    expect(windowed.text).toBe('The capital');
  });

  it('read the newest attempt alone of a log that has several', async ({ player }) => {
    const peer = await connect();
    const reading = await peer.start({ query: player.script(...further), window: 1_000 });
    await peer.inbox.ended(reading);
    const late = await peer.resume({ stream_id: reading.id, offset: 0 });
    await peer.inbox.ended(late);
    expect(late.text).toBe('The capital');
    expect(late.messages[0]).toMatchObject({ type: EVENT.start, offset: 6, attempt: 2 });
    expect(late.messages[0]).not.toHaveProperty('provider');
  });

  it('are told of an answer that was complete before they came', async () => {
    const { auth, id, text } = await answered();
    const peer = await connect({ auth });
    const late = await peer.resume({ stream_id: id, offset: 0 });
    await peer.inbox.ended(late);
    expect(late.text).toBe(text);
    expect(types(late).at(0)).toBe(EVENT.start);
    expect(types(late).at(-1)).toBe(EVENT.end);
  });
});
