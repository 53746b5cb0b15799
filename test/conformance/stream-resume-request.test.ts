import { EVENT } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { answered } from './suite/answer.js';
import { it } from './suite/it.js';
import { connect, newId } from './suite/peer.js';

describe('StreamResumeRequest', () => {
  it('with the `epoch` of the log reads on, and with another one reads from 0', async () => {
    const { auth, id, units } = await answered();
    const peer = await connect({ auth });
    for (const window of [undefined, 1_000_000]) {
      const where = { stream_id: id, offset: 5, ...(window && { window }) };
      const { epoch } = (await peer.resume(where)).reply;
      const on = await peer.resume({ ...where, epoch });
      await peer.inbox.ended(on);
      expect(on.reply.reset).toBeUndefined();
      expect(on.units).toEqual(units.slice(5));
      const again = await peer.resume({ ...where, epoch: 'of-a-log-that-was-lost', attempt: 1 });
      await peer.inbox.ended(again);
      expect(again.reply.reset).toBe(true);
      expect(again.units).toEqual(units);
    }
  });

  it('to a stream that there is not is refused', async () => {
    const peer = await connect();
    const error = await peer.refused(EVENT.resume, { stream_id: newId(), offset: 0 });
    expect(error.code).toBe('not_found');
  });

  it.for([EVENT.resume, EVENT.ack, EVENT.cancel, EVENT.detach])(
    'and %s to the stream of another are refused as if there were none',
    async (event) => {
      const { auth, id, units } = await answered();
      const [stranger, nobody] = [await connect(), await connect({ auth: {} })];
      for (const peer of [stranger, nobody]) {
        const foreign = await peer.refused(event, { stream_id: id, offset: 0 });
        const missing = await peer.refused(event, { stream_id: newId(), offset: 0 });
        expect(foreign).toEqual(missing);
        expect(foreign.code).toBe('not_found');
      }
      const owner = await connect({ auth });
      const late = await owner.resume({ stream_id: id, offset: 0 });
      await owner.inbox.ended(late);
      expect(late.units).toEqual(units);
    },
  );

  it('by several readers on one connection and others gives each all of it', async ({ player }) => {
    const gate = player.gate();
    const text = { text: 'a word, ' };
    const query = player.script(text, { hold: gate }, text, text, { finish: 'stop' });
    const auth = { browser_id: newId() };
    const [one, two, three] = [
      await connect({ auth }),
      await connect({ auth }),
      await connect({ auth, transports: ['polling'] }),
    ];
    const first = await one.start({ query });
    const other = await one.start({ query: player.script(text, { finish: 'stop' }) });
    await one.inbox.until(() => first.text !== '');
    const second = await two.resume({ stream_id: first.id, offset: 0, window: 1_000 });
    const third = await three.resume({ stream_id: first.id, offset: 3 });
    await player.open(gate);
    await Promise.all([one.inbox.ended(first), two.inbox.ended(second), three.inbox.ended(third)]);
    await one.inbox.ended(other);
    expect(second.units).toEqual(first.units);
    expect(third.units).toEqual(first.units.slice(3));
  });

  it('takes the place of this connection’s earlier reader', async ({ player }) => {
    const gate = player.gate();
    const query = player.script(
      { text: 'before' },
      { hold: gate },
      { text: ', after' },
      { finish: 'stop' },
    );
    const peer = await connect();
    const first = await peer.start({ query, window: 1_000 });
    await peer.inbox.until(() => first.text === 'before');
    // A message for the earlier reader would be a fault from here on.
    const second = await peer.resume({ stream_id: first.id, offset: 4, window: 1_000 });
    const third = await peer.resume({ stream_id: first.id, offset: 2 });
    await player.open(gate);
    await peer.inbox.ended(third);
    expect(first.text).toBe('before');
    expect(second.text).not.toContain('after');
    expect(third.text).toBe('efore, after');
  });

  it('that is refused leaves the earlier reader in its place', async ({ player }) => {
    const gate = player.gate();
    const query = player.script(
      { text: 'before' },
      { hold: gate },
      { text: ', after' },
      { finish: 'stop' },
    );
    const peer = await connect();
    const reading = await peer.start({ query });
    await peer.inbox.until(() => reading.text === 'before');
    const refused = await peer.refused(EVENT.resume, { stream_id: reading.id, offset: 999 });
    expect(refused.code).toBe('bad_request');
    await player.open(gate);
    await peer.inbox.ended(reading);
    expect(reading.text).toBe('before, after');
  });

  it('finds a stream that goes on while nobody is connected', async ({ player }) => {
    const [gate, said, id] = [player.gate(), player.gate(), newId()];
    const query = player.script(
      { text: 'One' },
      { hold: gate },
      { text: ', two.' },
      { open: said },
      {
        finish: 'stop',
      },
    );
    const auth = { browser_id: newId() };
    const before = await connect({ auth });
    const cut = await before.start({ query, stream_id: id });
    await before.inbox.until(() => cut.text === 'One');
    before.leave();
    await player.open(gate);
    await player.opened(said);
    const after = await connect({ auth });
    const rest = await after.resume({ stream_id: id, offset: cut.next });
    expect(await after.inbox.ended(rest)).toMatchObject({ type: EVENT.end });
    expect(cut.text + rest.text).toBe('One, two.');
  });
});
