import { EVENT } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { it } from './suite/it.js';
import { connect, newId } from './suite/peer.js';

describe('StreamLoadingMessage', () => {
  it('goes to every reader while the model is being loaded, and to one that resumes then', async ({
    player,
  }) => {
    const { url } = await player.serve('loads');
    const auth = { browser_id: newId() };
    const [one, two] = [await connect({ url, auth }), await connect({ url, auth })];
    const [gate, loaded] = [player.gate(), player.gate()];
    const query = player.script(
      { load: gate },
      { hold: loaded },
      { text: 'x' },
      { finish: 'stop' },
    );
    const first = await one.start({ query, window: 100 });
    await one.inbox.until(() => first.messages.length === 1);
    const plain = await two.resume({ stream_id: first.id, offset: 0 });
    expect(plain.reply.status).toBe('loading');
    expect((await one.list()).map(({ status }) => status)).toEqual(['loading']);
    await two.inbox.until(() => plain.messages.some(({ type }) => type === EVENT.loading));
    const { provider, model } = first.messages[0] as { provider: string; model: string };
    expect(first.messages).toEqual([{ type: EVENT.loading, stream_id: first.id, provider, model }]);

    await player.open(gate);
    // It is loaded, and no text has come.
    await one.inbox.until(() => first.messages.length === 2);
    expect(first.messages[1]).toMatchObject({ type: EVENT.queued, ahead: 0 });
    expect((await one.list()).map(({ status }) => status)).toEqual(['waiting']);
    await player.open(loaded);
    await one.inbox.ended(first);
    expect(first.messages.slice(2).map(({ type }) => type)).toEqual([
      EVENT.start,
      EVENT.chunk,
      EVENT.end,
    ]);
    const late = await two.resume({ stream_id: first.id, offset: 0, window: 100 });
    await two.inbox.ended(late);
    expect(late.messages.map(({ type }) => type)).not.toContain(EVENT.loading);
  });
});

describe('omitted_messages', () => {
  it('is how many messages the client left out, and how many the server did', async ({
    player,
  }) => {
    const { url } = await player.serve('loads');
    const peer = await connect({ url });
    const omittedOf = async (own: number | undefined, ...steps: { omit: number }[]) => {
      const query = player.script(...steps, { text: 'x' }, { finish: 'stop' });
      const omitted = own !== undefined && { omitted_messages: own };
      const reading = await peer.start({ query, window: 100, ...omitted });
      await peer.inbox.ended(reading);
      const start = reading.messages.find(({ type }) => type === EVENT.start);
      return (start as { omitted_messages?: number }).omitted_messages;
    };
    expect(await omittedOf(undefined)).toBeUndefined();
    expect(await omittedOf(0)).toBeUndefined();
    expect(await omittedOf(3)).toBe(3);
    expect(await omittedOf(undefined, { omit: 2 })).toBe(2);
    expect(await omittedOf(3, { omit: 2 })).toBe(5);
    for (const own of [-1, 1.5, 1_000_001, '3'])
      expect((await peer.refused(EVENT.start, { query: 'q', omitted_messages: own })).code).toBe(
        'bad_request',
      );
  });
});
