import { EVENT } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { answered } from './suite/answer.js';
import { it } from './suite/it.js';
import { connect } from './suite/peer.js';
import { digestOf } from './suite/reading.js';

describe('StreamEndMessage', () => {
  it('has the length and the digest of the text, and is the last of the log', async () => {
    const { text, terminal, units } = await answered();
    expect(terminal).toMatchObject({
      type: EVENT.end,
      complete: true,
      total_length: text.length,
      digest: digestOf(text),
      offset: units.length - 1,
      source: expect.stringMatching(/^(?:model|cache)$/),
      provider: expect.any(String),
      model: expect.any(String),
    });
  });

  it('counts UTF-16 units, and digests UTF-8', async ({ player }) => {
    const text = 'Grüße, 世界 👩‍👩‍👧 \u0000\u2028 ' + '😀'.repeat(40);
    const peer = await connect();
    const reading = await peer.start({ query: player.script({ text }, { finish: 'stop' }) });
    expect(await peer.inbox.ended(reading)).toMatchObject({
      total_length: text.length,
      digest: digestOf(text),
    });
    expect(reading.text).toBe(text);
  });

  it('comes after a long text that came in many pieces', async ({ player }) => {
    const steps = Array.from({ length: 600 }, (_, i) => ({ text: `${i} 😀 ` }));
    const peer = await connect();
    const query = player.script(...steps, { finish: 'stop' });
    const reading = await peer.start({ query, window: 512 });
    peer.keepUp(reading);
    await peer.inbox.ended(reading);
    expect(reading.text).toBe(steps.map(({ text }) => text).join(''));
  });

  it.for(['stop', 'length', 'other'] as const)('says `%s`', async (finish, { player }) => {
    const peer = await connect();
    const reading = await peer.start({ query: player.script({ text: 'x' }, { finish }) });
    expect(await peer.inbox.ended(reading)).toMatchObject({ finish_reason: finish });
  });

  it('does not end an answer without a visible character', async ({ player }) => {
    for (const steps of [[], [{ text: ' \n' }]]) {
      const peer = await connect();
      const reading = await peer.start({ query: player.script(...steps, { finish: 'stop' }) });
      expect(await peer.inbox.ended(reading)).toMatchObject({
        type: EVENT.error,
        code: expect.stringMatching(/^(?:provider_unavailable|all_providers_failed)$/),
      });
    }
  });
});
