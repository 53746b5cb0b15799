import { describe, expect, it } from 'vitest';
import { createLocalCache } from '../../packages/server/src/generate/cache.js';

const answerOf = (text: string) => ({ text, usage: {} });

describe('the response cache of a process', () => {
  it('drops the least recently used answers past its bytes', () => {
    const cache = createLocalCache({ ttlSeconds: 60, maxBytes: 100_000 });
    const text = 'x'.repeat(5_000);
    for (let i = 0; i < 9; i++) cache.set(`key ${i}`, answerOf(text));
    expect(cache.get('key 0')).toMatchObject({ text });
    cache.set('key 9', answerOf(text));
    expect(cache.get('key 1')).toBeUndefined();
    expect(cache.get('key 0')).toMatchObject({ text });
    const kept = [...cache.values()];
    expect(kept).toHaveLength(9);
    expect(2 * kept.reduce((units, answer) => units + answer.text.length, 0)).toBeLessThan(100_000);
  });

  it('bounds what many short answers take', () => {
    const cache = createLocalCache({ ttlSeconds: 60, maxBytes: 100_000 });
    for (let i = 0; i < 10_000; i++) cache.set(`key ${i}`, answerOf(''));
    expect([...cache.values()].length).toBeLessThan(400);
  });

  it('takes answers of an eighth of its bytes at most', () => {
    const { maxAnswerUnits } = createLocalCache({ ttlSeconds: 60, maxBytes: 16_000 });
    expect(maxAnswerUnits).toBe(1_000);
  });

  it('lists its answers, the newest first', () => {
    const cache = createLocalCache({ ttlSeconds: 60, maxBytes: 100_000 });
    for (const text of ['a', 'b']) cache.set(text, answerOf(text));
    expect([...cache.values()].map(({ text }) => text)).toEqual(['b', 'a']);
  });
});
