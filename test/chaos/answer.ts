import { createHash } from 'node:crypto';
import { between, randomOf } from './random.js';

const WORDS = [
  'river ',
  'delta, ',
  'Fluß ',
  '水は流れる',
  '🦊',
  '👩🏽‍🔬 ',
  'e\u0301 ',
  '\n\n',
  '`x = 1` ',
  'a',
];

/** The model's answer to `query`, and the delay before each piece. It is equal in every process. */
export function answerTo(query: string): { waitMs: number; text: string }[] {
  const random = randomOf(query);
  const pieces = between(random, 20, 60);
  return Array.from({ length: pieces }, () => ({
    waitMs: between(random, 20, 180),
    text: Array.from(
      { length: between(random, 1, 4) },
      () => WORDS[between(random, 0, WORDS.length - 1)]!,
    ).join(''),
  }));
}

export function textOf(query: string): string {
  return answerTo(query)
    .map(({ text }) => text)
    .join('');
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
