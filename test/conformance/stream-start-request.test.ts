import { EVENT, LIMITS } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { answered, PLAIN } from './suite/answer.js';
import { it } from './suite/it.js';
import { checkError, connect, newId } from './suite/peer.js';

describe('StreamStartRequest', () => {
  it('is answered with the stream id that it gave', async () => {
    const peer = await connect();
    const id = newId();
    expect((await peer.start({ query: PLAIN, stream_id: id })).id).toBe(id);
  });

  it('is answered with a stream id of its own where it gave none', async () => {
    const peer = await connect();
    const [one, two] = [await peer.start({ query: PLAIN }), await peer.start({ query: PLAIN })];
    expect(one.id).not.toBe(two.id);
    expect(await peer.inbox.ended(one)).toMatchObject({ type: EVENT.end });
    expect(await peer.inbox.ended(two)).toMatchObject({ type: EVENT.end });
  });

  it('has its `session_id` come back in every message', async () => {
    const peer = await connect();
    const reading = await peer.start({ query: PLAIN, session_id: 'session_123' });
    await peer.inbox.ended(reading);
    expect(reading.messages.length).toBeGreaterThan(1);
    expect(new Set(reading.messages.map(({ session_id: id }) => id))).toEqual(
      new Set(['session_123']),
    );
  });

  it('takes all that a client may say', async () => {
    const peer = await connect();
    const reading = await peer.start({
      query: 'And what is an offset?',
      session_id: 's'.repeat(LIMITS.idUnits),
      stream_id: newId().padEnd(LIMITS.idUnits, 'x'),
      reader_id: 'r'.repeat(LIMITS.idUnits),
      intent: { name: 'explain', parameters: { depth: 2, brief: true, of: 'offset' } },
      context: [
        { role: 'user', content: PLAIN },
        { role: 'assistant', content: 'By its offset.' },
      ],
      options: {
        temperature: 0.5,
        top_p: 0.9,
        top_k: 40,
        max_tokens: 200,
        stop: ['END'],
        seed: 7,
        cache: 'no-store',
      },
      window: LIMITS.windowUnits,
    });
    expect(await peer.inbox.ended(reading)).toMatchObject({ type: EVENT.end });
    expect(reading.messages.find(({ type }) => type === EVENT.start)).toMatchObject({
      source: 'model',
    });
  });

  it('said again reads the stream from its beginning, on this connection and another', async () => {
    const { auth, id, query, units } = await answered();
    for (const peer of [await connect({ auth }), await connect({ auth })]) {
      for (const window of [undefined, 65_536]) {
        const again = await peer.start({ query, stream_id: id, ...(window && { window }) });
        peer.keepUp(again);
        await peer.inbox.ended(again);
        expect(again.units).toEqual(units);
      }
    }
  });

  it('said again while the answer runs asks no second time', async ({ player }) => {
    const [gate, id] = [player.gate(), newId()];
    const query = player.script(
      { text: 'Once' },
      { hold: gate },
      { text: '.' },
      { finish: 'stop' },
    );
    const auth = { browser_id: newId() };
    const [one, two] = [await connect({ auth }), await connect({ auth })];
    const first = await one.start({ query, stream_id: id });
    await one.inbox.until(() => first.text === 'Once');
    const second = await two.start({ query, stream_id: id });
    await two.inbox.until(() => second.text === 'Once');
    expect(second.reply.status).toBe('streaming');
    expect(await one.list()).toHaveLength(1);
    await player.open(gate);
    await Promise.all([one.inbox.ended(first), two.inbox.ended(second)]);
    expect(second.units).toEqual(first.units);
    expect(first.text).toBe('Once.');
  });

  it.for<[string, object]>([
    ['query', { query: 'Another question?' }],
    ['context', { context: [{ role: 'user', content: 'Before.' }] }],
    ['options', { options: { temperature: 1 } }],
    ['intent', { intent: { name: 'explain' } }],
  ])('with the id of a stream and another %s is a conflict', async ([, other]) => {
    const { auth, id, query, units } = await answered();
    const peer = await connect({ auth });
    const error = await peer.refused(EVENT.start, { query, stream_id: id, ...other });
    expect(error.code).toBe('conflict');
    const late = await peer.resume({ stream_id: id, offset: 0 });
    await peer.inbox.ended(late);
    expect(late.units).toEqual(units);
  });

  it('has its id inside its principal: another may use the same', async () => {
    const { id } = await answered();
    const stranger = await connect();
    const own = await stranger.start({ query: 'What is a window?', stream_id: id });
    expect(await stranger.inbox.ended(own)).toMatchObject({ type: EVENT.end });
  });

  it.for([EVENT.start, EVENT.resume])(
    'and %s are refused as `stream_error` without offset where no reply was asked for',
    async (event) => {
      const peer = await connect();
      peer.socket.emit(event, { stream_id: 'A', session_id: 'session_123' });
      await peer.inbox.until(() => peer.inbox.refusals.length > 0);
      const { type, stream_id: id, session_id: session, ...error } = peer.inbox.refusals[0]!;
      expect({ type, id, session }).toEqual({
        type: EVENT.error,
        id: 'A',
        session: 'session_123',
      });
      expect(checkError(error).code).toBe('bad_request');
    },
  );

  it('is refused by a reply alone where one was asked for', async () => {
    const peer = await connect();
    expect((await peer.refused(EVENT.start, {})).code).toBe('bad_request');
    await peer.caughtUp();
    expect(peer.inbox.refusals).toEqual([]);
  });

  it.for([
    ['stream_id', {}],
    ['body', { stream_id: newId() }],
  ] as const)(
    'is the same request whatever `omitted_messages` is, by its %s',
    async ([, first], { player }) => {
      const gate = player.gate();
      const query = player.script({ hold: gate }, { text: 'Once.' }, { finish: 'stop' });
      const peer = await connect();
      const id = newId();
      const one = await peer.start({ query, stream_id: id, omitted_messages: 1 });
      const again = { query, stream_id: id, ...first, omitted_messages: 2 };
      const two = await peer.start(again);
      await player.open(gate);
      await peer.inbox.ended(two);
      expect(two.text).toBe('Once.');
      if (one.id !== two.id) await peer.inbox.ended(one);
    },
  );
});
