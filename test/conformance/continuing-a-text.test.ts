import { EVENT } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { it } from './suite/it.js';
import { connect, newId } from './suite/peer.js';

describe('Continuing a text', () => {
  it.for(['The capital of Fra', 'It is ', 'A 🦊', 'x'.repeat(131_072)])(
    'has only what comes after it, and its length in each reply',
    async (sofar, { player }) => {
      const peer = await connect();
      const query = player.script({ text: 'nce is ' }, { text: 'Paris.' }, { finish: 'stop' });
      const reading = await peer.start({ query, continue_text: sofar, window: 65_536 });
      expect(reading.reply.continued_units).toBe(sofar.length);
      expect(await peer.inbox.ended(reading)).toMatchObject({ total_length: 13 });
      expect(reading.text).toBe('nce is Paris.');
      const late = await peer.resume({ stream_id: reading.id, offset: 0 });
      expect(late.reply.continued_units).toBe(sofar.length);
      await peer.inbox.ended(late);
    },
  );

  it('keeps the white space at the beginning, as soon as it comes', async ({ player }) => {
    const gate = player.gate();
    const peer = await connect();
    const query = player.script(
      { text: '\n' },
      { text: ' ' },
      { hold: gate },
      { text: 'And more.' },
      { finish: 'stop' },
    );
    const reading = await peer.start({ query, continue_text: 'So far.' });
    await peer.inbox.until(() => reading.text === '\n ');
    await player.open(gate);
    expect(await peer.inbox.ended(reading)).toMatchObject({ total_length: 11 });
    expect(reading.text).toBe('\n And more.');
  });

  it('ends with `stop` and without text where the text was complete', async ({ player }) => {
    const peer = await connect();
    const query = player.script({ finish: 'stop' });
    const reading = await peer.start({ query, continue_text: 'All is said.' });
    const end = { type: EVENT.end, finish_reason: 'stop', total_length: 0 };
    expect(await peer.inbox.ended(reading)).toMatchObject(end);
    expect(reading.text).toBe('');
  });

  it('is part of the request: another text under the same id is a conflict', async ({ player }) => {
    const peer = await connect();
    const id = newId();
    const query = player.script({ text: '…' }, { finish: 'stop' });
    const first = await peer.start({ query, stream_id: id, continue_text: 'One' });
    await peer.inbox.ended(first);
    const again = await peer.start({ query, stream_id: id, continue_text: 'One' });
    await peer.inbox.ended(again);
    for (const other of [{ continue_text: 'Two' }, {}]) {
      const error = await peer.refused(EVENT.start, { query, stream_id: id, ...other });
      expect(error.code).toBe('conflict');
    }
  });

  it('is not continued where the text is empty', async ({ player }) => {
    const peer = await connect();
    const query = player.script({ text: ' Anew.' }, { finish: 'stop' });
    const reading = await peer.start({ query, continue_text: '' });
    expect(reading.reply.continued_units).toBeUndefined();
    await peer.inbox.ended(reading);
    expect(reading.text).toBe(' Anew.');
  });
});
