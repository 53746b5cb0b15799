import { EVENT } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { it } from './suite/it.js';
import { connect, newId } from './suite/peer.js';
import type { Reading } from './suite/reading.js';
import type { Tool } from './suite/shapes.js';

const toolsOf = ({ messages }: Reading): Tool[] =>
  messages.filter((message) => message.type === EVENT.tool);

describe('StreamToolCallMessage', () => {
  it('tells name and arguments as the model said them', async ({ player }) => {
    const args = { deep: [1, { x: 'y' }], text: '😀' };
    const query = player.script(
      { text: 'Let me see.' },
      { calls: [{ name: 'echo', arguments: args }] },
      { text: 'So.' },
      { finish: 'stop' },
    );
    const peer = await connect();
    const reading = await peer.start({ query, session_id: 's' });
    await peer.inbox.ended(reading);
    const [call, result] = toolsOf(reading);
    expect(call).toMatchObject({ phase: 'call', name: 'echo', arguments: args, offset: 12 });
    expect(result).toMatchObject({ phase: 'result', name: 'echo', result: args, offset: 13 });
    expect(result?.call_id).toBe(call?.call_id);
    expect(reading.text.startsWith('Let me see.')).toBe(true);
    expect(reading.text.endsWith('So.')).toBe(true);
  });

  it('comes before the tool has run', async ({ player }) => {
    const gate = player.gate();
    const query = player.script(
      { text: 'a' },
      { calls: [{ name: 'echo', arguments: { gate } }] },
      { finish: 'stop' },
    );
    const peer = await connect();
    const reading = await peer.start({ query });
    await peer.inbox.until(() => toolsOf(reading).length === 1);
    await peer.caughtUp();
    expect(toolsOf(reading).map(({ phase }) => phase)).toEqual(['call']);
    await player.open(gate);
    await peer.inbox.ended(reading);
  });
});

describe('StreamToolResultMessage', () => {
  it('come in the order of the calls, whichever ended first', async ({ player }) => {
    const gate = player.gate();
    const query = player.script(
      {
        calls: [
          { name: 'echo', arguments: { gate, n: 1 } },
          { name: 'echo', arguments: { n: 2 } },
          { name: 'no_such_tool', arguments: {} },
        ],
      },
      { text: 'Done.' },
      { finish: 'stop' },
    );
    const peer = await connect();
    const reading = await peer.start({ query, window: 1_000 });
    await peer.inbox.until(() => toolsOf(reading).length === 3);
    await player.open(gate);
    await peer.inbox.ended(reading);
    const [, , , first, second, third] = toolsOf(reading);
    expect(first).toMatchObject({ phase: 'result', result: { n: 1 } });
    expect(second).toMatchObject({ phase: 'result', result: { n: 2 } });
    expect(third).toMatchObject({ phase: 'result', error: expect.any(String) });
    expect(reading.text).toBe('Done.');
  });

  it('can be read from any offset, and cancelled before it came', async ({ player }) => {
    const [gate, id] = [player.gate(), newId()];
    const call = { name: 'echo', arguments: {} };
    const query = player.script(
      { text: 'ab' },
      { calls: [call, call] },
      { text: 'cd' },
      { calls: [{ name: 'echo', arguments: { gate } }] },
      { finish: 'stop' },
    );
    const auth = { browser_id: newId() };
    const peer = await connect({ auth });
    const reading = await peer.start({ query, stream_id: id });
    await peer.inbox.until(() => toolsOf(reading).length === 5);
    await peer.done(EVENT.cancel, { stream_id: id });
    expect(await peer.inbox.ended(reading)).toMatchObject({ code: 'cancelled' });
    expect(new Set(toolsOf(reading).map((tool) => tool.call_id)).size).toBe(3);
    const other = await connect({ auth });
    for (let offset = 0; offset < reading.units.length; offset++) {
      const late = await other.resume({ stream_id: id, offset });
      await other.inbox.ended(late);
      expect(late.units).toEqual(reading.units.slice(offset));
    }
  });

  it('of an earlier attempt stays: tools are not run again', async ({ player }) => {
    const query = player.script(
      { text: 'a' },
      { calls: [{ name: 'echo', arguments: { n: 1 } }] },
      { text: 'b' },
      { fail: 'unavailable' },
      { text: 'c' },
      { finish: 'stop' },
    );
    const peer = await connect();
    const reading = await peer.start({ query, window: 1_000 });
    expect(await peer.inbox.ended(reading)).toMatchObject({ type: EVENT.end });
    expect(toolsOf(reading)).toHaveLength(2);
    expect(reading.messages.filter(({ type }) => type === EVENT.start)).toHaveLength(2);
    expect(reading.text).toContain('c');
  });
});
