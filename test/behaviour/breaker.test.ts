import {
  mockProvider,
  type MockStep,
  type Provider,
  ProviderError,
  type ProviderFailure,
} from '@rivulet/server';
import { describe, expect, it, vi } from 'vitest';
import { ownClock } from '../harness/clock.js';
import { recorded } from '../harness/log.js';
import { providerConfigOf } from '../harness/providers.js';
import { entriesOf, serviceOf, textOf } from '../harness/service.js';
import { stage } from '../harness/stage.js';

const ANSWER: MockStep[] = [{ text: 'Paris.' }, { finish: 'stop' }];
const failing = (failure: ProviderFailure, retryAfterMs?: number): MockStep[] => [
  { fail: new ProviderError(failure, `unable to reach api: ${failure}`, { retryAfterMs }) },
];

/** An api that plays the present script, and counts. */
function api(steps: MockStep[]) {
  const state = { steps, calls: 0 };
  const provider = mockProvider(
    () => {
      state.calls += 1;
      return state.steps;
    },
    { name: 'api' },
  );
  return { state, provider };
}

/** The core without a cache, and its answers. */
function coreOf(
  ...[first, ...rest]: [
    ReturnType<typeof providerConfigOf>,
    ...ReturnType<typeof providerConfigOf>[],
  ]
) {
  const log = recorded();
  const llm = serviceOf(first.provider, {
    providers: [first, ...rest],
    cache: undefined,
    logger: log.logger,
  });
  const ask = (signal?: AbortSignal) =>
    entriesOf(llm.generateResponseStream({ query: 'q' }, signal ? { signal } : {}));
  const askTimes = async (times: number) => {
    for (let i = 0; i < times; i++) await ask();
  };
  return { llm, log, ask, askTimes, breaker: () => llm.providerStatus()[0]!.breaker };
}

const local = providerConfigOf(mockProvider(() => ANSWER, { name: 'local' }));

ownClock();

describe('a provider that keeps failing', () => {
  it.each(['unavailable', 'busy', 'truncated', 'misconfigured'] as const)(
    'as `%s` is not asked any more, and the next one answers',
    async (failure) => {
      const { state, provider } = api(failing(failure));
      const { ask, askTimes, breaker } = coreOf(providerConfigOf(provider), local);
      await askTimes(5);
      expect(breaker()).toBe('open');
      expect(textOf(await ask())).toBe('Paris.');
      expect(state.calls).toBe(5);
    },
  );

  it.each([
    ['does not begin', 'firstChunkMs', []],
    ['stalls', 'stallMs', [{ text: 'Par' }]],
  ] as const)('in that it %s is not asked any more', async (_, limit, before) => {
    const { state, provider } = api([...before, { stall: true }]);
    const slow = providerConfigOf(provider, { deadlines: { [limit]: 1_000 } });
    const { ask } = coreOf(slow, local);
    for (let i = 0; i < 5; i++) {
      const answer = ask();
      await vi.advanceTimersByTimeAsync(1_000);
      await answer;
    }
    await ask();
    expect(state.calls).toBe(5);
  });

  describe('to answer questions in time', () => {
    /** Asks for a user, while the model is fast or slower than the limit. */
    function asking(limit: 'firstChunkMs' | 'stallMs') {
      let isSlow = false;
      const before: MockStep[] = limit === 'stallMs' ? [{ text: 'Par' }] : [];
      const provider = mockProvider(() => (isSlow ? [...before, { stall: true }] : ANSWER), {
        name: 'api',
      });
      const config = providerConfigOf(provider, { deadlines: { [limit]: 1_000 } });
      const { llm, breaker } = coreOf(config, local);
      const ask = async (user: { principal?: string; fairnessKey?: string }, times = 1) => {
        for (let i = 0; i < times; i++) {
          const answer = entriesOf(llm.generateResponseStream({ query: 'q', ...user }));
          await vi.advanceTimersByTimeAsync(isSlow ? 1_000 : 0);
          await answer;
        }
      };
      return {
        breaker,
        fast: (principal: string) => ((isSlow = false), ask({ principal })),
        slow: (...args: Parameters<typeof ask>) => ((isSlow = true), ask(...args)),
      };
    }

    it.each(['firstChunkMs', 'stallMs'] as const)(
      'is still asked where only one user has such questions, and others had answers (%s)',
      async (limit) => {
        const { fast, slow, breaker } = asking(limit);
        await fast('bob');
        await slow({ principal: 'mallory' }, 8);
        expect(breaker()).toBe('closed');
      },
    );

    it('is still asked where they are those of one address with many browsers', async () => {
      const { fast, slow, breaker } = asking('firstChunkMs');
      await fast('bob');
      for (let i = 0; i < 20; i++)
        await slow({ principal: `browser:${i}`, fairnessKey: 'address:203.0.113.7' });
      expect(breaker()).toBe('closed');
    });

    it('is not asked any more where two users wait in vain', async () => {
      const { fast, slow, breaker } = asking('firstChunkMs');
      await fast('bob');
      for (let i = 0; i < 4; i++) {
        await slow({ principal: 'ann' });
        await slow({ principal: 'bob' });
      }
      expect(breaker()).toBe('open');
    });

    it.each([{ principal: 'ann' }, {}])(
      'is not asked any more where no other user is known: %j',
      async (user) => {
        const { slow, breaker } = asking('firstChunkMs');
        await slow(user, 5);
        expect(breaker()).toBe('open');
      },
    );
  });

  it.each(['content_filter', 'bad_request'] as const)(
    'to like the question (%s) is asked the next',
    async (failure) => {
      const { state, provider } = api(failing(failure));
      const { askTimes, breaker } = coreOf(providerConfigOf(provider), local);
      await askTimes(10);
      expect(breaker()).toBe('closed');
      expect(state.calls).toBe(10);
    },
  );

  it('only because its callers give up is asked the next', async () => {
    const { provider, nextCall, calls } = stage('api');
    const { ask, breaker } = coreOf(providerConfigOf(provider), local);
    for (let i = 0; i < 10; i++) {
      const controller = new AbortController();
      const answer = ask(controller.signal);
      await nextCall();
      controller.abort();
      expect((await answer).at(-1)).toMatchObject({ code: 'cancelled' });
    }
    expect(breaker()).toBe('closed');
    expect(calls).toHaveLength(10);
  });

  it('less than half of the time is asked the next', async () => {
    const { state, provider } = api(ANSWER);
    const { ask, breaker } = coreOf(providerConfigOf(provider), local);
    for (let i = 0; i < 20; i++) {
      state.steps = i % 3 === 0 ? failing('busy') : ANSWER;
      await ask();
    }
    expect(breaker()).toBe('closed');
  });

  it('leaves an immediate error that says why, and when to come back, when it is the only one', async () => {
    const { state, provider } = api(failing('unavailable'));
    const { ask, askTimes } = coreOf(providerConfigOf(provider));
    await askTimes(5);
    vi.advanceTimersByTime(2_000);
    expect(await ask()).toEqual([
      {
        type: 'error',
        code: 'provider_unavailable',
        message:
          'unable to get an answer from api: it kept failing and is left alone for 3 s; ' +
          'the last time: unable to reach api: unavailable',
        retryAfterMs: 3_000,
      },
    ]);
    expect(state.calls).toBe(5);
  });

  it('and another that does leave an immediate `all_providers_failed` with both causes', async () => {
    const one = api(failing('busy', 20_000));
    const two = api(failing('unavailable'));
    const { ask, askTimes } = coreOf(
      providerConfigOf(one.provider),
      providerConfigOf(two.provider),
    );
    await askTimes(5);
    const [error] = await ask();
    expect(error).toMatchObject({ code: 'all_providers_failed', retryAfterMs: 5_000 });
    expect(error).toMatchObject({ message: expect.stringMatching(/api: busy.+api: unavailable/) });
    expect([one.state.calls, two.state.calls]).toEqual([5, 5]);
  });
});

describe('a provider that was left alone', () => {
  /** Open, its rest over; and its next call is in the test's hands. */
  async function rested() {
    const { provider, nextCall, calls } = stage('api');
    const core = coreOf(providerConfigOf(provider), local);
    for (let i = 0; i < 5; i++) {
      const answer = core.ask();
      (await nextCall()).fail(new ProviderError('unavailable', 'unable to reach api'));
      await answer;
    }
    vi.advanceTimersByTime(5_000);
    return { ...core, nextCall, calls };
  }

  it('is asked by one request, while the others go elsewhere', async () => {
    const { ask, breaker, nextCall, calls } = await rested();
    const probe = ask();
    const call = await nextCall();
    expect(breaker()).toBe('half-open');
    expect((await ask())[0]).toMatchObject({ type: 'start', provider: 'local' });
    expect(calls).toHaveLength(6);
    call.say('Paris.');
    call.finish();
    expect((await probe)[0]).toMatchObject({ type: 'start', provider: 'api' });
  });

  it('is back with the first text of that one, before its end', async () => {
    const { ask, breaker, nextCall, log } = await rested();
    const probe = ask();
    const call = await nextCall();
    call.say('Par');
    await vi.waitFor(() => expect(breaker()).toBe('closed'));
    const other = ask();
    (await nextCall()).finish();
    await other;
    call.finish();
    await probe;
    expect(
      log.events.filter(({ event }) => event === 'LLM_PROVIDER_BREAKER').map(({ state }) => state),
    ).toEqual(['open', 'half-open', 'closed']);
  });

  it('rests for longer each time that it fails again, up to a minute', async () => {
    const { ask, nextCall, calls } = await rested();
    for (const restMs of [10_000, 20_000, 40_000, 60_000, 60_000]) {
      const probe = ask();
      (await nextCall()).fail(new ProviderError('unavailable', 'unable to reach api'));
      await probe;
      const before = calls.length;
      vi.advanceTimersByTime(restMs - 1);
      await ask();
      expect(calls).toHaveLength(before);
      vi.advanceTimersByTime(1);
    }
  });

  it('may be asked by the next at once when the one was cancelled', async () => {
    const { ask, nextCall, breaker } = await rested();
    const controller = new AbortController();
    const probe = ask(controller.signal);
    await nextCall();
    controller.abort();
    await probe;
    expect(breaker()).toBe('open');
    const next = ask();
    const call = await nextCall();
    call.say('Paris.');
    call.finish();
    expect((await next)[0]).toMatchObject({ provider: 'api' });
    expect(breaker()).toBe('closed');
  });

  it('is back when it refuses that one question, for it answers', async () => {
    const { ask, nextCall, breaker } = await rested();
    const probe = ask();
    (await nextCall()).fail(new ProviderError('content_filter', 'unable to answer'));
    await probe;
    expect(breaker()).toBe('closed');
  });

  it('is not asked twice by that one', async () => {
    const { provider, nextCall, calls } = stage('api');
    const { ask } = coreOf(providerConfigOf(provider, { retries: true }), local);
    const fail = async (failure: ProviderFailure) => {
      const answer = ask();
      (await nextCall()).fail(new ProviderError(failure, 'unable to reach api'));
      await answer;
    };
    for (let i = 0; i < 5; i++) await fail('misconfigured');
    vi.advanceTimersByTime(5_000);
    await fail('unavailable');
    expect(calls).toHaveLength(6);
  });

  it('has nobody wait for that one, also where it answers one at a time', async () => {
    const { provider, nextCall } = stage('api');
    const { ask } = coreOf(providerConfigOf(provider, { concurrency: 1 }), local);
    for (let i = 0; i < 5; i++) {
      const answer = ask();
      (await nextCall()).fail(new ProviderError('unavailable', 'unable to reach api'));
      await answer;
    }
    vi.advanceTimersByTime(5_000);
    const probe = ask();
    const call = await nextCall();
    expect((await ask())[0]).toMatchObject({ type: 'start', provider: 'local' });
    call.finish();
    await probe;
  });

  it('rests for as long as it asked for', async () => {
    const { state, provider } = api(failing('busy', 37_000));
    const { ask, askTimes } = coreOf(providerConfigOf(provider), local);
    await askTimes(5);
    vi.advanceTimersByTime(36_999);
    await ask();
    expect(state.calls).toBe(5);
    vi.advanceTimersByTime(1);
    await ask();
    expect(state.calls).toBe(6);
  });
});

describe('a provider that knows its problem', () => {
  /** Its problem and its calls are in the test's hands. */
  function knowing() {
    const { provider, nextCall, calls } = stage('api');
    const state: { problem: ProviderError | undefined } = { problem: undefined };
    const knower: Provider = {
      ...provider,
      get problem() {
        return state.problem;
      },
    };
    const core = coreOf(providerConfigOf(knower, { retries: true }), local);
    return { ...core, state, nextCall, calls };
  }

  it('is left alone when its calls find the problem themselves', async () => {
    const { ask, breaker, state, nextCall, calls } = knowing();
    const find = async () => {
      const answer = ask();
      const call = await nextCall();
      state.problem = new ProviderError('truncated', 'unable to reach api');
      call.fail(state.problem);
      await answer;
    };
    for (let i = 0; i < 5; i++) await find();
    expect(breaker()).toBe('open');
    vi.advanceTimersByTime(5_000);
    await find();
    vi.advanceTimersByTime(9_999);
    await ask();
    expect(calls).toHaveLength(6);
  });

  it('is asked the next when its calls fail with the problem that was known before', async () => {
    const { ask, breaker, state, nextCall } = knowing();
    state.problem = new ProviderError('misconfigured', 'unable to use api');
    for (let i = 0; i < 6; i++) {
      const answer = ask();
      (await nextCall()).fail(state.problem);
      await answer;
    }
    expect(breaker()).toBe('closed');
  });

  it('is asked the next when the problem is known before the second try of its calls', async () => {
    const { ask, breaker, state, nextCall } = knowing();
    for (let i = 0; i < 6; i++) {
      state.problem = undefined;
      const answer = ask();
      (await nextCall()).fail(new ProviderError('unavailable', 'unable to reach api'));
      state.problem = new ProviderError('misconfigured', 'unable to use api');
      const second = nextCall();
      await vi.advanceTimersByTimeAsync(1_000);
      (await second).fail(state.problem);
      await answer;
    }
    expect(breaker()).toBe('closed');
  });
});

describe('answers without text', () => {
  it('leave the breaker closed: a client can cause them with a stop text', async () => {
    const { provider } = api([{ text: ' ' }, { finish: 'stop' }]);
    const { ask, askTimes, breaker } = coreOf(providerConfigOf(provider));
    await askTimes(10);
    expect(breaker()).toBe('closed');
    expect((await ask()).at(-1)).toMatchObject({ message: expect.stringContaining('empty') });
  });
});

describe('a provider that keeps sending', () => {
  it.each<[string, MockStep]>([
    ['text', { text: 'word ' }],
    ['thoughts', { thought: 'hm ' }],
  ])('%s is not found dead for a limit in all', async (_, step) => {
    const provider = mockProvider(
      async function* () {
        for (;;) {
          yield step;
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
      },
      { name: 'api' },
    );
    const deadlines = { firstChunkMs: 1_000, stallMs: 1_000, totalMs: 9_950 };
    const { ask, breaker } = coreOf(providerConfigOf(provider, { deadlines }));
    for (let i = 0; i < 8; i++) {
      const answer = ask();
      await vi.advanceTimersByTimeAsync(10_100);
      expect((await answer).at(-1)).toMatchObject({ code: 'provider_timeout' });
    }
    expect(breaker()).toBe('closed');
  });
});
