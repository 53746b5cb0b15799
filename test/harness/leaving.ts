import { getEventListeners } from 'node:events';
import type { Provider } from '@rivulet/server';
import { describe, expect, it } from 'vitest';
import { hear, type RunningFake, toPrompt } from './fakes.js';

/**
 * Tests of every provider: when its reader leaves, the upstream work ends and no resource is left. The
 * parameters are functions, because their values do not exist yet when the tests are declared.
 */
export function describeLeaving(
  name: string,
  fake: () => RunningFake,
  provider: () => Provider,
): void {
  describe(`leaving ${name}`, () => {
    const left = new Error('the reader left');

    it('before asking sends nothing', async () => {
      const { requests } = await fake().stats();
      const { error } = await hear(provider(), 'hello', AbortSignal.abort(left));

      expect(error).toBe(left);
      await hear(provider(), 'burst');
      expect(await fake().stats()).toMatchObject({ requests: requests + 1 });
    });

    it('before the headers closes the connection at once', async () => {
      const before = await fake().stats();
      const reader = new AbortController();
      const heard = hear(provider(), 'stall-first', reader.signal);
      await expect.poll(() => fake().stats()).toMatchObject({ active: 1 });
      reader.abort(left);

      expect((await heard).error).toBe(left);
      await expect
        .poll(() => fake().stats())
        .toMatchObject({ active: 0, aborted: before.aborted + 1 });
    });

    it('between tokens closes the connection at once', async () => {
      const before = await fake().stats();
      const reader = new AbortController();
      const answer = provider().stream(toPrompt('stall'), reader.signal)[Symbol.asyncIterator]();
      for (const text of ['This is ', 'how it ', 'begins. ']) {
        expect(await answer.next()).toMatchObject({ value: { type: 'text', text } });
      }
      const next = answer.next();
      reader.abort(left);

      await expect(next).rejects.toBe(left);
      await expect
        .poll(() => fake().stats())
        .toMatchObject({ active: 0, aborted: before.aborted + 1 });
    });

    it('waits for nothing more, and yields at most what came in the same packet', async () => {
      const before = await fake().stats();
      const reader = new AbortController();
      const answer = provider().stream(toPrompt('burst-stall'), reader.signal);
      const texts: unknown[] = [];
      const reading = (async () => {
        for await (const delta of answer) {
          texts.push(delta);
          reader.abort(left);
        }
      })();

      await expect(reading).rejects.toBe(left);
      expect(texts.length).toBeLessThanOrEqual(16);
      await expect
        .poll(() => fake().stats())
        .toMatchObject({ active: 0, aborted: before.aborted + 1 });
    });

    it('after the end changes nothing', async () => {
      const before = await fake().stats();
      const reader = new AbortController();
      const { error } = await hear(provider(), 'burst', reader.signal);
      reader.abort(left);

      expect(error).toBeUndefined();
      expect((await hear(provider(), 'burst')).error).toBeUndefined();
      expect(await fake().stats()).toMatchObject({ active: 0, aborted: before.aborted });
    });

    it('by a break closes the connection at once', async () => {
      const before = await fake().stats();
      for await (const _ of provider().stream(toPrompt('stall'), new AbortController().signal))
        break;

      await expect
        .poll(() => fake().stats())
        .toMatchObject({ active: 0, aborted: before.aborted + 1 });
    });

    it('a thousand times leaves no socket and no listener behind', async () => {
      const lasting = new AbortController();
      const listeners: number[] = [];
      const visits = [
        async () => void (await hear(provider(), 'burst', lasting.signal)),
        async () => void (await hear(provider(), 'cut', lasting.signal)),
        async () => {
          for await (const _ of provider().stream(toPrompt('stall'), lasting.signal)) break;
        },
        async () => {
          const reader = new AbortController();
          setImmediate(() => reader.abort(left));
          expect((await hear(provider(), 'stall-first', reader.signal)).error).toBe(left);
          listeners.push(getEventListeners(reader.signal, 'abort').length);
        },
      ];
      for (let round = 0; round < 125; round++) {
        await Promise.all([...visits, ...visits].map((visit) => visit()));
      }

      expect(getEventListeners(lasting.signal, 'abort')).toEqual([]);
      expect(listeners).toEqual(Array.from({ length: 250 }, () => 0));
      await expect
        .poll(() => fake().stats(), { timeout: 10_000 })
        .toMatchObject({ active: 0, sockets: 0 });
    });
  });
}
