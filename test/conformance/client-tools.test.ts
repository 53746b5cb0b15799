import { EVENT, LIMITS } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { answered, PLAIN } from './suite/answer.js';
import { it } from './suite/it.js';
import { connect, newId } from './suite/peer.js';
import type { Player } from './suite/player.js';
import type { Reading } from './suite/reading.js';
import type { Tool } from './suite/shapes.js';

const units = (count: number): string => 'x'.repeat(count);
const weather = {
  name: 'weather',
  description: 'Tells the weather.',
  parameters: { type: 'object', properties: { city: { type: 'string' } } },
};
const toolsOf = ({ messages }: Reading): Tool[] =>
  messages.filter((message) => message.type === EVENT.tool);

/** A JSON object of so many levels. */
const nested = (levels: number): object =>
  Array.from({ length: levels }).reduce<object>((inner) => ({ inner }), {});

/** A stream that waits for a call of the tool. */
async function paused(player: Player, name: string) {
  const query = player.script(
    { calls: [{ name, arguments: { city: 'Rome' } }] },
    { text: 'So.' },
    { finish: 'stop' },
  );
  const auth = { browser_id: newId() };
  const peer = await connect({ auth });
  const id = newId();
  const reading = await peer.start({
    query,
    stream_id: id,
    client_tools: [weather],
    window: 1_000,
  });
  await peer.inbox.until(() => toolsOf(reading).length === 1);
  const [call] = toolsOf(reading);
  return { auth, peer, reading, id, call: call!, about: { stream_id: id, call_id: call!.call_id } };
}

describe('ClientTool', () => {
  it('has a shape', async () => {
    const peer = await connect();
    for (const client_tools of [
      weather,
      [{ ...weather, name: 'the weather' }],
      [{ ...weather, name: units(LIMITS.toolNameUnits + 1) }],
      [{ ...weather, description: units(LIMITS.toolDescriptionUnits + 1) }],
      [{ ...weather, parameters: { type: 'object', x: units(LIMITS.toolSchemaUnits) } }],
      [{ ...weather, parameters: { type: 'object', x: nested(65) } }],
      [{ ...weather, parameters: { type: 'string' } }],
      [weather, weather],
      Array.from({ length: LIMITS.clientTools + 1 }, (_, i) => ({ ...weather, name: `w${i}` })),
    ]) {
      const error = await peer.refused(EVENT.start, { query: PLAIN, client_tools });
      expect([client_tools, error.code]).toEqual([client_tools, 'bad_request']);
    }
    const combined = { continue_text: 'So', client_tools: [weather] };
    const refused = await peer.refused(EVENT.start, { query: PLAIN, ...combined });
    expect(refused.code).toBe('unsupported');
    expect(await peer.list()).toEqual([]);
  });
});

describe('StreamToolReplyRequest', () => {
  it('gives the result of a call, once; the same again does nothing', async ({ player }) => {
    const { peer, reading, about, call } = await paused(player, 'weather');
    expect(call).toMatchObject({ awaits: 'result', timeout_ms: expect.any(Number) });
    const wrong = await peer.refused(EVENT.toolReply, { ...about, approved: true });
    expect(wrong.code).toBe('bad_request');
    await peer.done(EVENT.toolReply, { ...about, result: { sky: 'blue' } });
    await peer.done(EVENT.toolReply, { ...about, result: { sky: 'blue' } });
    const other = await peer.refused(EVENT.toolReply, { ...about, result: 'grey' });
    expect(other.code).toBe('conflict');
    const unknown = { ...about, call_id: newId(), result: 1 };
    expect((await peer.refused(EVENT.toolReply, unknown)).code).toBe('not_found');
    await peer.inbox.ended(reading);
    expect(toolsOf(reading)[1]).toMatchObject({ phase: 'result', result: { sky: 'blue' } });
    expect(reading.text).toBe('So.');
  });

  it('has exactly one answer', async () => {
    const peer = await connect();
    const about = { stream_id: 'A', call_id: 'call-1' };
    for (const right of [{ approved: false }, { result: { ok: 1 } }, { error: 'no' }]) {
      expect((await peer.refused(EVENT.toolReply, { ...about, ...right })).code).toBe('not_found');
    }
    for (const wrong of [
      {},
      { approved: true, result: 1 },
      { approved: 'yes' },
      { error: units(LIMITS.toolErrorUnits + 1) },
      { result: units(LIMITS.toolResultUnits) },
      { result: nested(65) },
    ]) {
      const error = await peer.refused(EVENT.toolReply, { ...about, ...wrong });
      expect(error.code).toBe('bad_request');
    }
  });

  it('to a stream without waiting calls changes nothing', async () => {
    const { auth, id, units: log } = await answered();
    const peer = await connect({ auth });
    const reply = { stream_id: id, call_id: 'no-such-call', approved: true };
    expect((await peer.refused(EVENT.toolReply, reply)).code).toBe('not_found');
    const stranger = await connect();
    expect((await stranger.refused(EVENT.toolReply, reply)).code).toBe('not_found');
    const late = await peer.resume({ stream_id: id, offset: 0 });
    await peer.inbox.ended(late);
    expect(late.units).toEqual(log);
  });
});

describe('StreamToolDecisionMessage', () => {
  it.for([true, false])(
    'says what was decided, before the result: %s',
    async (approved, { player }) => {
      const { peer, reading, about, call } = await paused(player, 'guarded_echo');
      expect(call).toMatchObject({ awaits: 'approval', timeout_ms: expect.any(Number) });
      await peer.done(EVENT.toolReply, { ...about, approved });
      await peer.inbox.ended(reading);
      const [, decision, result] = toolsOf(reading);
      expect(decision).toMatchObject({ phase: 'decision', name: 'guarded_echo', approved });
      expect(result).toMatchObject(
        approved
          ? { phase: 'result', result: { city: 'Rome' } }
          : { phase: 'result', error: expect.any(String) },
      );
    },
  );
});

describe('Paused streams', () => {
  it('are `paused`, can be resumed, and answered on another connection', async ({ player }) => {
    const { auth, peer, about, id } = await paused(player, 'weather');
    expect(await peer.list()).toMatchObject([{ stream_id: id, status: 'paused' }]);
    peer.leave();
    const other = await connect({ auth });
    const reading = await other.resume({ stream_id: id, offset: 0 });
    await other.done(EVENT.toolReply, { ...about, error: 'it is dark' });
    await other.inbox.ended(reading);
    expect(toolsOf(reading)[1]).toMatchObject({ error: 'it is dark' });
  });

  it('can be cancelled', async ({ player }) => {
    const { peer, reading, about } = await paused(player, 'weather');
    await peer.done(EVENT.cancel, { stream_id: about.stream_id });
    expect(await peer.inbox.ended(reading)).toMatchObject({ code: 'cancelled' });
    const late = await peer.refused(EVENT.toolReply, { ...about, result: 1 });
    expect(late.code).toBe('conflict');
  });
});

describe('Answers of a schema', () => {
  it('are accepted, or `unsupported`, and have no tools', async ({ player }) => {
    const peer = await connect();
    const query = player.script({ text: '{"a":1}' }, { finish: 'stop' });
    const options = { response_schema: { type: 'object', properties: { a: {} } } };
    const reading = await peer.start({ query, options });
    await peer.inbox.ended(reading);
    expect(reading.text).toBe('{"a":1}');
  });

  it('need a schema of a bounded size', async () => {
    const peer = await connect();
    for (const response_schema of [
      'object',
      { x: units(LIMITS.responseSchemaUnits) },
      nested(65),
    ]) {
      const error = await peer.refused(EVENT.start, { query: PLAIN, options: { response_schema } });
      expect(error.code).toBe('bad_request');
    }
    for (const more of [{ client_tools: [weather] }, { continue_text: 'So' }]) {
      const body = { query: PLAIN, options: { response_schema: { type: 'object' } }, ...more };
      expect((await peer.refused(EVENT.start, body)).code).toBe('unsupported');
    }
  });
});
