import type { Answer, CacheMode } from '@rivulet/client';
import { entries, set } from 'idb-keyval';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { ask, hasPrefix, open, ownStore } from './own-user.js';

const LONG = 'word '.repeat(6_000);

/** An answer that would go on for seconds. */
async function begun(cache: CacheMode = 'default', client = open()): Promise<Answer> {
  const answer = client.start({ query: LONG, sessionId: 'one', options: { cache } });
  onTestFinished(() => answer.cancel());
  await new Promise<void>((resolve) => {
    answer.text$.subscribe((text) => text.length > 20 && resolve());
  });
  return answer;
}

async function journal(): Promise<[string, unknown][]> {
  const all = await entries<string, unknown>(ownStore());
  return all.filter(([key]) => key.startsWith('j:'));
}

/** Writes an entry as a page would have done it that was left `ageMs` ago. */
function left(id: string, ageMs: number): Promise<void> {
  const now = Date.now();
  const cacheTarget = { key: 'k', askedAt: now - ageMs, replaces: false };
  const received = { offset: 5, text: 'Once', thoughts: '', toolEntries: [] };
  const entry = { id, request: { query: 'What?' }, cacheTarget, phase: 'reading', received };
  return set(`j:${id}:w`, { ...entry, writtenAt: now - ageMs, isFromUnload: false }, ownStore());
}

describe('the journal', () => {
  it('has what runs, written when it is asked, then twice a second at most', async () => {
    const put = vi.spyOn(IDBObjectStore.prototype, 'put');
    onTestFinished(() => put.mockRestore());
    const writes = (): number => put.mock.calls.filter(([, key]) => hasPrefix(key, 'j:')).length;
    const startedAt = performance.now();
    const answer = await begun();
    let changes = 0;
    answer.state$.subscribe(() => (changes += 1));
    await vi.waitFor(() => {
      expect(writes()).toBeGreaterThan(2);
      expect(changes).toBeGreaterThan(20);
    });
    expect(writes()).toBeLessThan(2 + (performance.now() - startedAt) / 500);
    expect(await journal()).toMatchObject([
      [
        expect.stringContaining(`j:${answer.id}:`),
        {
          id: answer.id,
          request: { query: LONG, sessionId: 'one' },
          phase: 'reading',
          received: { attempt: { attempt: 1 } },
        },
      ],
    ]);
  });

  it('is written when the page is hidden or goes, whatever was written before', async () => {
    const answer = await begun();
    for (const event of ['visibilitychange', 'beforeunload', 'pagehide']) {
      const before = answer.getSnapshot().text;
      await new Promise<void>((resolve) => {
        answer.text$.subscribe((text) => text.length > before.length && resolve());
      });
      const { text } = answer.getSnapshot();
      dispatchEvent(new Event(event));
      const [[, entry] = []] = await journal();
      expect(entry).toMatchObject({ received: { text: expect.stringContaining(text) } });
    }
  });

  it('forgets what has ended, by itself or by a stop', async () => {
    await ask(open(), 'Short?');
    await vi.waitFor(async () => expect(await journal()).toEqual([]));
    const answer = await begun();
    await vi.waitFor(async () => expect(await journal()).toHaveLength(1));
    answer.cancel();
    await vi.waitFor(async () => expect(await journal()).toEqual([]));
  });

  it('has nothing where nothing is to be kept', async () => {
    await begun('no-store');
    await begun('default', open({ cache: false }));
    dispatchEvent(new Event('pagehide'));
    expect(await journal()).toEqual([]);
  });

  it('has nothing of what was asked before a `clear`', async () => {
    const client = open();
    await begun('default', client);
    await client.cache.clear();
    dispatchEvent(new Event('pagehide'));
    await new Promise((resolve) => setTimeout(resolve));
    expect(await journal()).toEqual([]);
  });

  it('drops what the server cannot know any more', async () => {
    await left('young', 5 * 60_000);
    await left('old', 6 * 60_000 + 1_000);
    await set('j:broken', { id: 'broken' }, ownStore());
    const ids = await new Promise<string[]>((resolve) => {
      open().active$.subscribe((active) => resolve(active.map(({ id }) => id)));
    });
    expect(ids).toEqual(['young']);
    await vi.waitFor(async () =>
      expect((await journal()).map(([key]) => key)).toEqual(['j:young:w']),
    );
    const { result } = open().resume('old');
    await expect(result).rejects.toMatchObject({ code: 'not_found' });
  });
});
