import { once } from 'node:events';
import type { StreamError } from '@rivulet/protocol';
import {
  type Delta,
  type LlmServiceOptions,
  type Provider,
  ProviderError,
  type ProviderFailure,
  mockProvider,
  type MockStep,
} from '@rivulet/server';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { ownClock, settled } from '../harness/clock.js';
import { recorded } from '../harness/log.js';
import { providerConfigOf } from '../harness/providers.js';
import { entriesOf, serviceOf, textOf } from '../harness/service.js';
import { stage } from '../harness/stage.js';
import { held } from '../harness/tools.js';

const ASK = { query: 'q' };
const local = providerConfigOf(
  mockProvider((): MockStep[] => [{ text: 'Paris.' }, { finish: 'stop' }], { name: 'local' }),
);
const failed = (failure: ProviderFailure, retryAfterMs?: number) =>
  new ProviderError(failure, `unable to reach api: ${failure}`, { retryAfterMs });

/** An api whose calls the test plays, with the local model behind it unless it stands alone. */
function hybrid({
  alone = false,
  ...options
}: Parameters<typeof serviceOf>[1] & { alone?: boolean } = {}) {
  const { provider, calls, nextCall } = stage('api');
  const api = providerConfigOf(provider, { deadlines: { firstChunkMs: 10_000 }, retries: true });
  const llm = serviceOf(provider, { providers: alone ? [api] : [api, local], ...options });
  const ask = (signal?: AbortSignal) =>
    entriesOf(llm.generateResponseStream(ASK, signal ? { signal } : {}));
  return { ask, calls, nextCall };
}

describe('a failure after text was shown', () => {
  const broken = [{ text: 'Lon' }, { fail: failed('unavailable') }];
  const api = () =>
    providerConfigOf(
      mockProvider(() => broken, { name: 'api' }),
      { retries: true },
    );

  it('leads to a new attempt that says why, without a retry of the same provider', async () => {
    const llm = serviceOf(api().provider, { providers: [api(), local] });
    const entries = await entriesOf(llm.generateResponseStream(ASK));
    expect(entries.map(({ type }) => type)).toEqual(['start', 'text', 'start', 'text', 'end']);
    expect(entries[2]).toMatchObject({
      attempt: 2,
      provider: 'local',
      reason: 'unable to reach api: unavailable',
    });
  });

  it('is the end with `fail`, its own code and the text so far', async () => {
    const llm = serviceOf(api().provider, {
      providers: [api(), local],
      onMidstreamFailure: 'fail',
    });
    const entries = await entriesOf(llm.generateResponseStream(ASK));
    expect(entries.map(({ type }) => type)).toEqual(['start', 'text', 'error']);
    expect(textOf(entries)).toBe('Lon');
    expect(entries[2]).toMatchObject({ code: 'provider_unavailable' });
  });

  it('changes nothing for one before any text, also with `fail`', async () => {
    const { ask, nextCall } = hybrid({ onMidstreamFailure: 'fail' });
    const answer = ask();
    (await nextCall()).fail(failed('truncated'));
    expect(textOf(await answer)).toBe('Paris.');
  });
});

describe('an answer with text whose provider is busy after a tool', () => {
  ownClock();

  /**
   * An answer that waits for the only slot of its provider, which another answer has, for longer than it would
   * wait for that provider alone. The other provider has a free slot.
   */
  async function waiting(
    more: Partial<LlmServiceOptions>,
    options: { mayRestart?: (failure: StreamError) => boolean } = {},
  ) {
    const [api, other] = [stage('api'), stage('local')];
    const deadlines = { firstChunkMs: 10_000 };
    const { tool, runs } = held('height');
    const llm = serviceOf(api.provider, {
      providers: [
        providerConfigOf(api.provider, { concurrency: 1, deadlines }),
        providerConfigOf(other.provider, { concurrency: 1 }),
      ],
      cache: undefined,
      tools: [tool],
      ...more,
    });
    const answer = entriesOf(llm.generateResponseStream(ASK, options));
    const first = await api.nextCall();
    first.say('Let me look.');
    first.callTool('height', { of: 'it' });
    first.finish();
    await vi.waitFor(() => expect(runs).toHaveLength(1));
    await settled();
    const busy = entriesOf(llm.generateResponseStream({ query: 'another' }));
    const busyCall = await api.nextCall();
    busyCall.say('Yes.');
    runs[0]!.give(9);
    await settled();
    await vi.advanceTimersByTimeAsync(10_000);
    await settled();
    const release = async () => {
      busyCall.finish();
      await busy;
    };
    return { llm, answer, api, other, release };
  }

  const cases: [string, Parameters<typeof waiting>][] = [
    ['a failure would end it', [{ onMidstreamFailure: 'fail' }]],
    ['a reader cannot restart it', [{}, { mayRestart: () => false }]],
  ];
  it.each(cases)('waits for that provider where %s', async (_, options) => {
    const { llm, answer, api, other, release } = await waiting(...options);
    expect(other.calls).toHaveLength(0);
    expect(llm.providerStatus()).toMatchObject([
      { running: 1, waiting: 1 },
      { running: 0, waiting: 0 },
    ]);
    await release();
    const call = await api.nextCall();
    call.say('9 m.');
    call.finish();
    const entries = await answer;
    expect(entries.filter(({ type }) => type === 'start')).toHaveLength(1);
    expect(textOf(entries)).toBe('Let me look.\n\n9 m.');
    expect(entries.at(-1)).toMatchObject({ type: 'end' });
  });

  it('restarts at the next provider, and says why, where its readers can restart it', async () => {
    const mayRestart = vi.fn<(failure: StreamError) => boolean>(() => true);
    const { answer, other, release } = await waiting({}, { mayRestart });
    const call = await other.nextCall();
    call.say('9 m.');
    call.finish();
    const starts = (await answer).filter(({ type }) => type === 'start');
    expect(starts).toMatchObject([
      { attempt: 1, provider: 'api' },
      { attempt: 2, provider: 'local', reason: expect.stringContaining('no slot was free') },
    ]);
    expect(mayRestart.mock.calls).toMatchObject([[{ code: 'overloaded' }]]);
    await release();
  });

  it.each<[string, Parameters<typeof waiting>]>([
    [
      '`mayRestart`',
      [
        {},
        {
          mayRestart() {
            throw new Error('a fault of the caller');
          },
        },
      ],
    ],
    [
      'the logger',
      [
        {
          logger: Object.assign(recorded().logger, {
            child() {
              return this;
            },
            warn({ event }: { event: string }) {
              if (event === 'LLM_STREAM_API_FALLBACK') throw new Error('a full disk');
            },
          }),
        },
      ],
    ],
  ])('keeps no slot where %s throws', async (_, options) => {
    const { llm, answer, other, release } = await waiting(...options);
    expect((await answer).at(-1)).toMatchObject({ type: 'error', code: 'internal' });
    expect(llm.providerStatus()[1]).toMatchObject({ running: 0, waiting: 0 });
    expect(other.calls).toHaveLength(0);
    await release();
  });
});

describe('a provider that is set up wrongly', () => {
  it('is fallen back from, and logged as an error of the configuration', async () => {
    const log = recorded();
    const { ask, nextCall, calls } = hybrid({ logger: log.logger });
    const answer = ask();
    (await nextCall()).fail(failed('misconfigured'));
    expect(textOf(await answer)).toBe('Paris.');
    expect(calls).toHaveLength(1);
    const ERROR_LEVEL = 50;
    expect(log.events).toContainEqual(
      expect.objectContaining({
        event: 'LLM_PROVIDER_MISCONFIGURED',
        level: ERROR_LEVEL,
        provider: 'api',
      }),
    );
  });
});

describe('the one retry of the api', () => {
  ownClock();
  afterEach(() => void vi.restoreAllMocks());

  it.each(['unavailable', 'busy'] as const)(
    'comes within a second of a failure as `%s`, and its answer counts',
    async (failure) => {
      const { ask, nextCall } = hybrid();
      const answer = ask();
      (await nextCall()).fail(failed(failure));
      const second = nextCall();
      await vi.advanceTimersByTimeAsync(1_000);
      const call = await second;
      call.say('From the api.');
      call.finish();
      const entries = await answer;
      expect(entries[0]).toMatchObject({ type: 'start', attempt: 1, provider: 'api' });
      expect(textOf(entries)).toBe('From the api.');
    },
  );

  it('is jittered, so that many do not come back together', async () => {
    const waits: number[] = [];
    for (const random of [0, 0.5]) {
      vi.spyOn(Math, 'random').mockReturnValue(random);
      const { ask, nextCall, calls } = hybrid();
      const answer = ask();
      (await nextCall()).fail(failed('unavailable'));
      const from = performance.now();
      while (calls.length < 2) await vi.advanceTimersByTimeAsync(1);
      waits.push(performance.now() - from);
      (await nextCall()).finish();
      await answer;
    }
    expect(waits[1]! - waits[0]!).toBeGreaterThan(100);
  });

  it('waits for as long as the api says', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0);
    const { ask, nextCall, calls } = hybrid();
    const answer = ask();
    (await nextCall()).fail(failed('busy', 7_000));
    await vi.advanceTimersByTimeAsync(6_999);
    expect(calls).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    (await nextCall()).finish();
    await answer;
    expect(calls).toHaveLength(2);
  });

  it('is the only one: the second failure is final for the api', async () => {
    const { ask, nextCall, calls } = hybrid();
    const answer = ask();
    (await nextCall()).fail(failed('busy'));
    const second = nextCall();
    await vi.advanceTimersByTimeAsync(1_000);
    (await second).fail(failed('unavailable'));
    expect((await answer)[0]).toMatchObject({ provider: 'local' });
    expect(calls).toHaveLength(2);
  });

  it('does not come when the api asks for more than is left of the time for the first text', async () => {
    const { ask, nextCall, calls } = hybrid();
    const answer = ask();
    const call = await nextCall();
    await vi.advanceTimersByTimeAsync(4_000);
    call.fail(failed('busy', 6_000));
    expect((await answer)[0]).toMatchObject({ provider: 'local' });
    expect(calls).toHaveLength(1);
  });

  it.each(['misconfigured', 'bad_request', 'content_filter', 'truncated'] as const)(
    'does not come for `%s`',
    async (failure) => {
      const { ask, nextCall, calls } = hybrid();
      const answer = ask();
      (await nextCall()).fail(failed(failure));
      await answer;
      expect(calls).toHaveLength(1);
    },
  );

  it('does not come for a provider that is not to be retried', async () => {
    const { provider, nextCall, calls } = stage('local');
    const llm = serviceOf(provider);
    const answer = entriesOf(llm.generateResponseStream(ASK));
    (await nextCall()).fail(failed('unavailable'));
    await answer;
    expect(calls).toHaveLength(1);
  });

  it('lengthens nothing: both tries have the time of one for their first text', async () => {
    const { ask, nextCall } = hybrid({ alone: true });
    let ended = false;
    const answer = ask().finally(() => (ended = true));
    const call = await nextCall();
    await vi.advanceTimersByTimeAsync(8_000);
    call.fail(failed('unavailable'));
    await vi.advanceTimersByTimeAsync(1_000);
    await nextCall();
    await vi.advanceTimersByTimeAsync(999);
    await settled();
    expect(ended).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect((await answer).at(-1)).toMatchObject({ code: 'provider_timeout' });
  });

  it.each<[string, Delta]>([
    ['a thought', { type: 'thought', text: 'Hm.' }],
    ['white space', { type: 'text', text: ' ' }],
    ['a tool call', { type: 'tool_call', name: 'lookup', arguments: {} }],
    ['a model that was being loaded', { type: 'loading' }],
  ])('has the time for the first text, also after %s', async (_, first) => {
    let calls = 0;
    const provider: Provider = {
      name: 'api',
      model: 'script',
      async *stream(_prompt, signal) {
        calls += 1;
        if (calls === 1) {
          yield first;
          throw failed('unavailable');
        }
        await once(signal, 'abort');
      },
    };
    const deadlines = { firstChunkMs: 10_000, stallMs: 0, totalMs: 0 };
    const api = providerConfigOf(provider, { deadlines, retries: true });
    const llm = serviceOf(provider, { providers: [api] });
    const controller = new AbortController();
    const answer = entriesOf(llm.generateResponseStream(ASK, { signal: controller.signal }));
    await vi.advanceTimersByTimeAsync(10_000);
    await settled();
    controller.abort();
    expect((await answer).at(-1)).toMatchObject({ code: 'provider_timeout' });
    expect(calls).toBe(2);
  });

  it('is given up at once when the answer is cancelled while it waits', async () => {
    const { ask, nextCall, calls } = hybrid();
    const controller = new AbortController();
    const answer = ask(controller.signal);
    (await nextCall()).fail(failed('busy', 9_000));
    await vi.advanceTimersByTimeAsync(1_000);
    controller.abort();
    expect((await answer).at(-1)).toMatchObject({ code: 'cancelled' });
    expect(calls).toHaveLength(1);
  });

  it('leaves nothing of the provider open when its caller leaves the loop', async () => {
    let open = false;
    const provider: Provider = {
      name: 'api',
      model: 'script',
      async *stream() {
        open = true;
        try {
          for (;;) yield { type: 'text', text: 'on and ' };
        } finally {
          open = false;
        }
      },
    };
    const llm = serviceOf(provider, { providers: [providerConfigOf(provider, { retries: true })] });
    for await (const { type } of llm.generateResponseStream(ASK)) {
      if (type !== 'text') continue;
      expect(open).toBe(true);
      break;
    }
    expect(open).toBe(false);
  });

  it('leaves each cause in plain words when all fail', async () => {
    const { provider, nextCall } = stage('api');
    const down = mockProvider(() => [
      { fail: new ProviderError('busy', 'unable to reach local: busy') },
    ]);
    const llm = serviceOf(provider, {
      providers: [providerConfigOf(provider, { retries: true }), providerConfigOf(down)],
    });
    const answer = entriesOf(llm.generateResponseStream(ASK));
    (await nextCall()).fail(failed('busy'));
    const second = nextCall();
    await vi.advanceTimersByTimeAsync(1_000);
    (await second).fail(failed('unavailable'));
    expect(await answer).toEqual([
      {
        type: 'error',
        code: 'all_providers_failed',
        message:
          'unable to get an answer: unable to reach api: unavailable; unable to reach local: busy',
      },
    ]);
  });
});

describe('an answer without text', () => {
  const blanks: [string, MockStep[]][] = [
    ['nothing', []],
    ['white space', [{ text: ' \n' }, { text: '\t\u{a0}' }]],
    ['characters that cannot be seen', [{ text: '\u{200b}' }, { text: '\u{feff}' }]],
    ['thoughts', [{ thought: 'Hm.' }]],
  ];

  it.each(blanks)('of %s is retried, and then the next provider answers', async (_, steps) => {
    let calls = 0;
    const api = mockProvider(
      () => {
        calls += 1;
        return [...steps, { finish: 'stop' as const }];
      },
      { name: 'api' },
    );
    vi.spyOn(Math, 'random').mockReturnValue(0);
    onTestFinished(() => void vi.restoreAllMocks());
    const llm = serviceOf(api, { providers: [providerConfigOf(api, { retries: true }), local] });
    const entries = await entriesOf(llm.generateResponseStream(ASK));
    expect(calls).toBe(2);
    expect(entries[0]).toMatchObject({ type: 'start', attempt: 1, provider: 'local' });
    expect(textOf(entries)).toBe('Paris.');
  });

  it.each(blanks)('of %s is a failure, and is not cached', async (_, steps) => {
    const answers: MockStep[][] = [
      [...steps, { finish: 'stop' }],
      [{ text: 'A' }, { finish: 'stop' }],
    ];
    const llm = serviceOf(mockProvider(() => answers.shift()!));
    expect(await entriesOf(llm.generateResponseStream(ASK))).toMatchObject([
      { type: 'error', code: 'provider_unavailable', message: expect.stringContaining('empty') },
    ]);
    expect(textOf(await entriesOf(llm.generateResponseStream(ASK)))).toBe('A');
  });

  it('that used all its tokens is an error of its own, which no other provider is asked for', async () => {
    const api = mockProvider(() => [{ thought: 'Hm.' }, { finish: 'length' }], { name: 'api' });
    const llm = serviceOf(api, { providers: [providerConfigOf(api, { retries: true }), local] });
    expect(await entriesOf(llm.generateResponseStream(ASK))).toMatchObject([
      { type: 'error', code: 'too_large', message: expect.stringContaining('tokens') },
    ]);
  });

  it('until its first visible character keeps the white space before it', async () => {
    const steps: MockStep[] = [{ text: '\n' }, { text: '  ' }, { text: 'code' }, { text: ' ' }];
    const llm = serviceOf(mockProvider(() => [...steps, { finish: 'stop' }]));
    const entries = await entriesOf(llm.generateResponseStream(ASK));
    expect(entries.map(({ type }) => type)).toEqual(['start', 'text', 'text', 'end']);
    expect(textOf(entries)).toBe('\n  code ');
  });

  it('waits for an emoji whose halves come separately', async () => {
    const [first, second] = ['🦊'.slice(0, 1), '🦊'.slice(1)];
    const steps: MockStep[] = [{ text: first }, { text: second }, { finish: 'stop' }];
    const llm = serviceOf(mockProvider(() => steps));
    expect(textOf(await entriesOf(llm.generateResponseStream(ASK)))).toBe('🦊');
  });
});
