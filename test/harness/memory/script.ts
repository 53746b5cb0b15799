import { setImmediate as nextTurn } from 'node:timers/promises';
import type { MockStep } from '@rivulet/server';

/** Units of all answers in one turn of the event loop, at most and with a fixed cost for each token. */
const UNITS_PER_TURN = 20_000;
const UNITS_PER_TOKEN = 50;
const LETTERS = Buffer.alloc(20_000, 'abcdefghij');
const WORDS = ['river', 'délta', '河流', '🦊', 'stream', 'mouth', 'source', 'ends'];

/** The text of the answer to `exact SEED`. */
export function exactText(seed: number): string {
  let text = '';
  for (let i = 0; text.length < 20_000; i++) {
    text += `${WORDS[(seed + i * 7) % WORDS.length]} ${i * seed} `;
  }
  return text;
}

/**
 * Answers `exact SEED` with its text, and `fill COUNT UNITS` with as many tokens of so many units,
 * as fast as they are taken.
 */
export async function* answer(question: string): AsyncGenerator<MockStep> {
  const [kind, first = 0, second = 1] = question.split(' ').map((word, i) => (i ? +word : word));
  if (kind === 'exact') {
    const text = exactText(Number(first));
    for (let from = 0; from < text.length; from += 1_000) {
      yield { text: text.slice(from, from + 1_000) };
      await nextTurn();
    }
  } else {
    yield* fill(Number(first), Number(second));
  }
  yield { finish: 'stop' };
}

let fills = 0;

/** A provider sends as fast as its network allows, which its answers share. */
async function* fill(count: number, units: number): AsyncGenerator<MockStep> {
  fills += 1;
  try {
    for (let made = 0; made < count;) {
      const share = UNITS_PER_TURN / fills / (units + UNITS_PER_TOKEN);
      for (let i = 0; i < Math.ceil(share) && made < count; i++) {
        // A string of its own for each token, as a JSON parser makes it.
        yield { text: LETTERS.toString('latin1', made % 7, (made % 7) + units) };
        made += 1;
      }
      await nextTurn();
    }
  } finally {
    fills -= 1;
  }
}
