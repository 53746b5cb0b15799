import { setTimeout as wait } from 'node:timers/promises';
import { monotonicMs } from '../../chaos/messages.js';

/** What there is to say to a question: `tokens COUNT EVERY_MS …`, or `megabyte …` once it is released. */
export async function* piecesFor(
  query: string,
  released: Promise<void>,
): AsyncGenerator<string, void, undefined> {
  const [kind, count = '1', everyMs = '0'] = query.split(' ');
  if (kind === 'megabyte') {
    await released;
    for (let kilobyte = 0; kilobyte < 1024; kilobyte++) {
      yield 'x'.repeat(1024);
      await wait(16);
    }
    return;
  }
  const startedAt = performance.now();
  for (let n = 0; n < Number(count); n++) {
    yield `${monotonicMs().toFixed(2)} `;
    // By the clock, so that a slow turn does not slow down all that follow.
    const dueMs = startedAt + (n + 1) * Number(everyMs) - performance.now();
    if (Number(everyMs) > 0) await wait(Math.max(0, dueMs));
  }
}

/** Milliseconds that each whole token in `text` took. */
export function latenciesOf(text: string): number[] {
  const now = monotonicMs();
  return text
    .split(' ')
    .filter((token) => token !== '' && !token.startsWith('x'))
    .map((token) => now - Number(token));
}
