import { metrics } from '@opentelemetry/api';
import {
  createMetrics,
  type GenerateRequest,
  type LlmService,
  type LlmServiceOptions,
  type Provider,
  ProviderError,
  mockProvider,
  type MockStep,
  type ServerOptions,
} from '@rivulet/server';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { testMeter, type TestMeter } from '../harness/meter.js';
import { startServer } from '../harness/rivulet.js';
import { PATIENT, providersOf } from '../harness/providers.js';
import { entriesOf, serviceOf } from '../harness/service.js';
import { stage } from '../harness/stage.js';

const ASK: GenerateRequest = { query: "What's the capital of France?", principal: 'me' };
const USAGE = { input_tokens: 12, output_tokens: 40 };
const script = (name: string, ...steps: MockStep[]) =>
  mockProvider(() => steps, { name, model: 'm' });
const answers = (name: string) =>
  script(name, { text: 'Par' }, { text: 'is.' }, { finish: 'stop', usage: USAGE });
const fails = (name: string, failure: ProviderError['failure'], ...before: MockStep[]) =>
  script(name, ...before, { fail: new ProviderError(failure, 'unable to: no') });

const GEMINI = {
  'gen_ai.operation.name': 'generate_content',
  'gen_ai.provider.name': 'gcp.gemini',
  'gen_ai.request.model': 'm',
};
const OLLAMA = { ...GEMINI, 'gen_ai.operation.name': 'chat', 'gen_ai.provider.name': 'ollama' };
const MODEL = { outcome: 'stop', source: 'model' };

let meter: TestMeter;
const service = (
  providers: Provider | readonly [Provider, ...Provider[]],
  options: Partial<LlmServiceOptions> = {},
) => serviceOf(providers, { metrics: createMetrics(meter.provider), ...options });

/** Every data point there is, as [attributes, how often or how many], by the metric's name. */
async function recorded(): Promise<Record<string, unknown>> {
  const points = Object.entries(await meter.read()).filter(([, list]) => list.length > 0);
  return Object.fromEntries(
    points.map(([name, list]) => [name, list.map(({ attributes, value }) => [attributes, value])]),
  );
}

/** The same without the gauges, which show how things stand and not what happened. */
async function counted(): Promise<Record<string, unknown>> {
  const gauges = new Set(['llm_queue_length', 'llm_breaker_state']);
  return Object.fromEntries(Object.entries(await recorded()).filter(([name]) => !gauges.has(name)));
}

beforeEach(() => void (meter = testMeter()));

describe('the metrics of', () => {
  it('an answer say how long, how much, which provider and how many tokens', async () => {
    await entriesOf(service(answers('gemini')).generateResponseStream(ASK));
    expect(await counted()).toEqual({
      llm_stream_latency_ms: [[MODEL, 1]],
      llm_stream_first_chunk_ms: [[{ source: 'model' }, 1]],
      llm_stream_response_length: [[MODEL, 1]],
      llm_stream_active: [[{}, 0]],
      llm_stream_tokens_per_second: [[{ provider: 'gemini', model: 'm' }, 1]],
      'gen_ai.client.operation.duration': [[GEMINI, 1]],
      'gen_ai.client.operation.time_to_first_chunk': [[GEMINI, 1]],
      'gen_ai.client.operation.time_per_output_chunk': [[GEMINI, 1]],
      'gen_ai.client.token.usage': [
        [{ ...GEMINI, 'gen_ai.token.type': 'input' }, 1],
        [{ ...GEMINI, 'gen_ai.token.type': 'output' }, 1],
      ],
    });
    expect((await meter.read())['llm_stream_response_length']![0]!.sum).toBe('Paris.'.length);
  });

  it('a cache hit add an answer and a hit, and no call of a model', async () => {
    const llm = service(answers('gemini'));
    await entriesOf(llm.generateResponseStream(ASK));
    const before = await counted();
    await entriesOf(llm.generateResponseStream(ASK));
    const hit = { outcome: 'stop', source: 'cache' };
    expect(await counted()).toEqual({
      ...before,
      llm_stream_latency_ms: [
        [MODEL, 1],
        [hit, 1],
      ],
      llm_stream_first_chunk_ms: [
        [{ source: 'model' }, 1],
        [{ source: 'cache' }, 1],
      ],
      llm_stream_response_length: [
        [MODEL, 1],
        [hit, 1],
      ],
      llm_stream_cache_hit: [[{}, 1]],
    });
  });

  it('a failure name it, and have no first chunk', async () => {
    await entriesOf(service(fails('ollama', 'content_filter')).generateResponseStream(ASK));
    const failed = { outcome: 'content_filter', source: 'model' };
    expect(await counted()).toEqual({
      llm_stream_latency_ms: [[failed, 1]],
      llm_stream_response_length: [[failed, 1]],
      llm_stream_active: [[{}, 0]],
      'gen_ai.client.operation.duration': [[{ ...OLLAMA, 'error.type': 'content_filter' }, 1]],
    });
  });

  it('a fallback count it and both calls', async () => {
    const llm = service([fails('gemini', 'busy', { text: 'Lon' }), answers('ollama')]);
    await entriesOf(llm.generateResponseStream(ASK));
    expect(await counted()).toEqual({
      llm_stream_latency_ms: [[MODEL, 1]],
      llm_stream_first_chunk_ms: [[{ source: 'model' }, 1]],
      llm_stream_response_length: [[MODEL, 1]],
      llm_stream_active: [[{}, 0]],
      llm_stream_fallback: [[{ from: 'gemini', to: 'ollama', reason: 'busy' }, 1]],
      llm_stream_tokens_per_second: [[{ provider: 'ollama', model: 'm' }, 1]],
      'gen_ai.client.operation.duration': [
        [{ ...GEMINI, 'error.type': 'busy' }, 1],
        [OLLAMA, 1],
      ],
      'gen_ai.client.operation.time_to_first_chunk': [
        [GEMINI, 1],
        [OLLAMA, 1],
      ],
      'gen_ai.client.operation.time_per_output_chunk': [[OLLAMA, 1]],
      'gen_ai.client.token.usage': [
        [{ ...OLLAMA, 'gen_ai.token.type': 'input' }, 1],
        [{ ...OLLAMA, 'gen_ai.token.type': 'output' }, 1],
      ],
    });
  });

  it.each(['a cancel', 'a caller that breaks out of the loop'])(
    '%s say `cancelled`, and that nothing is active any more',
    async (how) => {
      const { provider, nextCall } = stage('ollama');
      const controller = new AbortController();
      const stream = service(provider).generateResponseStream(ASK, { signal: controller.signal });
      const first = stream.next();
      const call = await nextCall();
      call.say('Par');
      await first;
      expect((await recorded())['llm_stream_active']).toEqual([[{}, 1]]);
      await stream.next();
      if (how === 'a cancel') {
        controller.abort();
        await entriesOf(stream);
      } else {
        await stream.return();
      }
      const cancelled = { outcome: 'cancelled', source: 'model' };
      const called = { ...OLLAMA, 'gen_ai.request.model': 'script' };
      expect(await counted()).toEqual({
        llm_stream_latency_ms: [[cancelled, 1]],
        llm_stream_first_chunk_ms: [[{ source: 'model' }, 1]],
        llm_stream_response_length: [[cancelled, 1]],
        llm_stream_active: [[{}, 0]],
        'gen_ai.client.operation.duration': [[{ ...called, 'error.type': 'cancelled' }, 1]],
        'gen_ai.client.operation.time_to_first_chunk': [[called, 1]],
      });
    },
  );

  it.each<[string, MockStep[], string]>([
    ['is silent too long', [{ stall: true }], 'provider_timeout'],
    ['stops without an end', [{ text: 'Par' }], 'truncated'],
    ['has a bug', [{ fail: new TypeError('x is undefined') }], '_OTHER'],
  ])('a provider that %s name that', async (_, steps, type) => {
    const providers = providersOf(script('ollama', ...steps));
    const deadlines = { ...PATIENT, firstChunkMs: 10 };
    const llm = service(answers('unused'), { providers: [{ ...providers[0], deadlines }] });
    await entriesOf(llm.generateResponseStream(ASK));
    expect((await recorded())['gen_ai.client.operation.duration']).toEqual([
      [{ ...OLLAMA, 'error.type': type }, 1],
    ]);
  });

  it('another try of the same provider count both calls', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const { provider, nextCall } = stage('ollama');
      const llm = service(provider, {
        providers: [{ provider, deadlines: PATIENT, retries: true }],
      });
      const answer = entriesOf(llm.generateResponseStream(ASK));
      (await nextCall()).fail(new ProviderError('busy', 'unable to reach ollama: busy'));
      const another = nextCall();
      await vi.advanceTimersByTimeAsync(1_000);
      const call = await another;
      call.say('Paris.');
      call.finish();
      await answer;
      const called = { ...OLLAMA, 'gen_ai.request.model': 'script' };
      expect((await counted())['gen_ai.client.operation.duration']).toEqual([
        [{ ...called, 'error.type': 'busy' }, 1],
        [called, 1],
      ]);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('a model call', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }));
  afterEach(() => void vi.useRealTimers());

  it('is timed in seconds, and its speed is that of the text after the first chunk', async () => {
    const call = createMetrics(meter.provider).beginModelCall('ollama', 'm');
    vi.advanceTimersByTime(200);
    call.chunk(30, performance.now());
    vi.advanceTimersByTime(100);
    call.chunk(20, performance.now());
    vi.advanceTimersByTime(300);
    call.chunk(10, performance.now());
    vi.advanceTimersByTime(1_000);
    call.finish('stop', { output_tokens: 40 }, undefined);
    call.end(undefined);
    const points = await meter.read();
    const sum = (name: string) => points[name]?.[0]?.sum;
    expect(sum('gen_ai.client.operation.time_to_first_chunk')).toBeCloseTo(0.2);
    expect(sum('gen_ai.client.operation.time_per_output_chunk')).toBeCloseTo(0.2);
    expect(sum('gen_ai.client.operation.duration')).toBeCloseTo(1.6);
    expect(sum('llm_stream_tokens_per_second')).toBeCloseTo(20 / 0.4);
  });

  it('in one piece has no speed', async () => {
    const call = createMetrics(meter.provider).beginModelCall('ollama', 'm');
    call.chunk(30, performance.now());
    vi.advanceTimersByTime(100);
    call.finish('stop', { output_tokens: 40 }, undefined);
    call.end(undefined);
    expect(await recorded()).not.toHaveProperty('llm_stream_tokens_per_second');
  });

  it.each([
    ['m-2026-01', { 'gen_ai.response.model': 'm-2026-01' }],
    ['what the user asked, in full', {}],
    ['x'.repeat(101), {}],
  ])('names the model that answered, if it is a name (%s)', async (name, expected) => {
    const call = createMetrics(meter.provider).beginModelCall('ollama', 'm');
    call.finish('stop', {}, name);
    call.end(undefined);
    expect((await recorded())['gen_ai.client.operation.duration']).toEqual([
      [{ ...OLLAMA, ...expected }, 1],
    ]);
  });
});

describe('the gauges', () => {
  it('of a service show the queue and the breaker of each provider', async () => {
    const { provider, nextCall } = stage('ollama');
    const deadlines = PATIENT;
    const llm = service(provider, { providers: [{ provider, deadlines, concurrency: 1 }] });
    const first = llm.generateResponseStream(ASK).next();
    const call = await nextCall();
    const second = llm.generateResponseStream({ query: 'Another' }).next();
    expect((await second).value).toEqual({ type: 'queued', ahead: 1 });
    const { llm_queue_length, llm_breaker_state } = await recorded();
    expect(llm_queue_length).toEqual([[{ provider: 'ollama' }, 1]]);
    expect(llm_breaker_state).toContainEqual([{ provider: 'ollama', state: 'closed' }, 1]);
    call.say('Paris.');
    await first;
  });

  it('ask for the length of a queue each time they are read, until told to stop', async () => {
    const { gauges } = createMetrics(meter.provider);
    const length = vi.fn<() => number>(() => 0);
    const stop = gauges.queueLength('ollama', length);
    expect((await recorded())['llm_queue_length']).toEqual([[{ provider: 'ollama' }, 0]]);
    length.mockReturnValue(2);
    expect((await recorded())['llm_queue_length']).toEqual([[{ provider: 'ollama' }, 2]]);
    stop();
    await recorded();
    expect(length).toHaveBeenCalledTimes(2);
  });

  it('show in which of its states a breaker is', async () => {
    const { gauges } = createMetrics(meter.provider);
    gauges.breakerState('gemini', () => 'half-open');
    expect((await recorded())['llm_breaker_state']).toEqual([
      [{ provider: 'gemini', state: 'closed' }, 0],
      [{ provider: 'gemini', state: 'half-open' }, 1],
      [{ provider: 'gemini', state: 'open' }, 0],
    ]);
  });
});

describe('the library', () => {
  const server = async (options: Partial<ServerOptions> = {}): Promise<LlmService> =>
    (await startServer(answers('gemini'), options)).llm;
  afterEach(() => metrics.disable());

  it('sets no meter provider, and uses the one that the process has', async () => {
    const before = await server();
    expect(metrics.setGlobalMeterProvider(meter.provider)).toBe(true);
    await entriesOf(before.generateResponseStream(ASK));
    expect(await recorded()).toEqual({});
    const after = await server();
    await entriesOf(after.generateResponseStream(ASK));
    expect((await recorded())['llm_stream_latency_ms']).toEqual([[MODEL, 1]]);
  });

  it('uses the one that it is given before that of the process', async () => {
    metrics.setGlobalMeterProvider(testMeter().provider);
    const llm = await server({ meterProvider: meter.provider });
    await entriesOf(llm.generateResponseStream(ASK));
    expect((await recorded())['llm_stream_latency_ms']).toEqual([[MODEL, 1]]);
  });
});
