import type { Delta, Provider } from '@rivulet/server';
import { describe, expect, it, vi } from 'vitest';
import { ownClock } from '../harness/clock.js';
import { providerConfigOf } from '../harness/providers.js';
import { entriesOf, serviceOf, textOf } from '../harness/service.js';

const SECONDS = 9;

/** Says nothing for nine seconds but `sign`, each second, and then answers. */
function slow(sign: Delta | undefined): Provider {
  return {
    name: 'slow',
    model: 'm',
    async *stream() {
      for (let second = 0; second < SECONDS; second++) {
        if (sign !== undefined) yield sign;
        await new Promise((resolve) => setTimeout(resolve, 900));
      }
      yield { type: 'text', text: 'Paris.' };
      yield { type: 'finish', reason: 'stop', usage: {} };
    },
  };
}

describe('a provider that works on what cannot be shown yet', () => {
  ownClock();

  async function ask(sign: Delta | undefined) {
    const provider = slow(sign);
    const config = providerConfigOf(provider, {
      deadlines: { firstChunkMs: 1_000, stallMs: 1_000 },
    });
    const llm = serviceOf(provider, { providers: [config] });
    const entries = entriesOf(llm.generateResponseStream({ query: 'hello' }));
    await vi.advanceTimersByTimeAsync(900 * SECONDS);
    return entries;
  }

  it('has all the time that it needs as long as it gives a sign of life', async () => {
    const entries = await ask({ type: 'working' });
    expect(entries.map(({ type }) => type)).toEqual(['start', 'text', 'end']);
    expect(textOf(entries)).toBe('Paris.');
  });

  it('is given up without one', async () => {
    expect((await ask(undefined)).at(-1)).toMatchObject({ code: 'provider_timeout' });
  });
});
