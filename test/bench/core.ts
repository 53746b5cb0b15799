import { GoogleGenerativeAI } from '@google/generative-ai';
import {
  createLogger,
  createMetrics,
  gemini,
  LlmService,
  ollama,
  type Provider,
} from '@rivulet/server';
import { Ollama } from 'ollama';
import { startFake } from '../harness/fakes.js';
import { providersOf } from '../harness/providers.js';
import { median, table } from './measure.js';

// What the streaming core costs beside the SDK alone: both ask the same fake, in turns, in one run.

const ROUNDS = 7;
const ASKS_A_ROUND = 20;
const LONG = 'tokens';
const SHORT = 'Explain deltas';

/** Asks once: milliseconds to the first text, and how many pieces came. */
type AskOnce = (question: string) => Promise<{ firstMs: number; pieces: number }>;

async function listen(pieces: AsyncIterable<string | undefined>, startedAt: number) {
  let firstMs = NaN;
  let count = 0;
  for await (const piece of pieces) {
    if (!piece) continue;
    if (count++ === 0) firstMs = performance.now() - startedAt;
  }
  return { firstMs, pieces: count };
}

function geminiAlone(url: string): AskOnce {
  const model = new GoogleGenerativeAI('key').getGenerativeModel({ model: 'm' }, { baseUrl: url });
  return async (question) => {
    const startedAt = performance.now();
    const contents = [{ role: 'user', parts: [{ text: question }] }];
    const { stream } = await model.generateContentStream({ contents });
    async function* texts() {
      for await (const chunk of stream) yield chunk.text();
    }
    return listen(texts(), startedAt);
  };
}

function ollamaAlone(url: string): AskOnce {
  const client = new Ollama({ host: url });
  return async (question) => {
    const startedAt = performance.now();
    const messages = [{ role: 'user', content: question }];
    const stream = await client.chat({ model: 'llama3.2', messages, stream: true });
    async function* texts() {
      for await (const { message } of stream) yield message.content;
    }
    return listen(texts(), startedAt);
  };
}

function core(provider: Provider): AskOnce {
  const llm = new LlmService({
    providers: providersOf(provider),
    prompt: { systemPrompt: '' },
    cache: undefined,
    limits: { maxResponseUnits: 50_000_000 },
    logger: createLogger('silent'),
    metrics: createMetrics(),
  });
  return async (query) => {
    const startedAt = performance.now();
    async function* texts() {
      for await (const entry of llm.generateResponseStream({ query })) {
        if (entry.type === 'error') throw new Error(entry.message);
        if (entry.type === 'text') yield entry.text;
      }
    }
    return listen(texts(), startedAt);
  };
}

async function firstChunkMs(ask: AskOnce): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < ASKS_A_ROUND; i++) times.push((await ask(SHORT)).firstMs);
  return median(times);
}

/** Microseconds of this process's CPU for each piece of text. */
async function cpuMicros(ask: AskOnce, streams: number, question: string): Promise<number> {
  const before = process.cpuUsage();
  const answers = await Promise.all(Array.from({ length: streams }, () => ask(question)));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / answers.reduce((sum, { pieces }) => sum + pieces, 0);
}

/** Each measure for both, in turns, so that what disturbs one disturbs the other. */
async function compare(alone: AskOnce, ours: AskOnce, measure: (ask: AskOnce) => Promise<number>) {
  const figures: [number, number][] = [];
  await measure(alone);
  await measure(ours);
  for (let round = 0; round < ROUNDS; round++) {
    figures.push([await measure(alone), await measure(ours)]);
  }
  return {
    alone: median(figures.map(([a]) => a)),
    ours: median(figures.map(([, b]) => b)),
    ratio: median(figures.map(([a, b]) => b / a)),
    added: median(figures.map(([a, b]) => b - a)),
  };
}

const rows: (string | number)[][] = [];
for (const name of ['gemini', 'ollama'] as const) {
  const fake = await startFake(name);
  const [alone, ours] =
    name === 'gemini'
      ? [geminiAlone(fake.url), core(gemini({ apiKey: 'key', model: 'm', baseUrl: fake.url }))]
      : [ollamaAlone(fake.url), core(ollama({ host: fake.url, model: 'llama3.2' }))];
  const first = await compare(alone, ours, firstChunkMs);
  rows.push([name, 'first text, ms (1 stream)', first.alone, first.ours, first.ratio, first.added]);
  for (const streams of [1, 100]) {
    // A hundred streams of the short answer, one of ten thousand pieces: about as much work.
    const question = streams === 1 ? LONG : SHORT;
    const cpu = await compare(alone, ours, (ask) => cpuMicros(ask, streams, question));
    const what = `CPU, s for a million pieces (${streams} streams)`;
    rows.push([name, what, cpu.alone, cpu.ours, cpu.ratio, cpu.added]);
  }
  await fake.stop();
}
console.log(table(['provider', 'measure', 'SDK alone', 'core', 'ratio', 'added'], rows));
