import { inspect } from 'node:util';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { gemini } from '../../packages/server/src/providers/gemini/gemini.js';
import type { Prompt, Provider } from '../../packages/server/src/providers/provider.js';
import { answerTo } from '../fakes/shared.js';
import { hear, startFake, toPrompt, unusedUrl, type RunningFake } from '../harness/fakes.js';
import { describeLeaving } from '../harness/leaving.js';

const KEY = 'AIza-key-that-stays-here';
const MODEL = 'gemini-2.5-flash';
const SECRET = 'xyzzy plugh';
const BEGUN = 'This is how it begins. ';

/** The sentence that a visitor may read: no name of a host, model or setting, and no words of upstream. */
const FOR_VISITORS = /^unable to [a-z ]+: [a-z ;]+$/;

let fake: RunningFake;
let provider: Provider;

beforeAll(async () => {
  fake = await startFake('gemini');
  provider = gemini({ apiKey: KEY, model: MODEL, baseUrl: `${fake.url}/` });
});

afterAll(() => fake.stop());

describe('an answer of gemini', () => {
  it('arrives whole and in order, and finishes with the last usage', async () => {
    const { text, deltas, error } = await hear(provider, 'why is the sky blue?');

    expect(error).toBeUndefined();
    expect(text).toBe(answerTo('why is the sky blue?'));
    expect(deltas.length).toBeGreaterThan(20);
    expect(deltas.at(-1)).toEqual({
      type: 'finish',
      reason: 'stop',
      usage: { input_tokens: expect.any(Number), output_tokens: deltas.length - 1 },
      model: MODEL,
    });
  });

  it('is asked for with the system text, the roles and the limits of the prompt', async () => {
    const { text } = await hear(provider, {
      system: 'Be brief.',
      messages: [
        { role: 'user', text: 'hi' },
        { role: 'assistant', text: 'hello' },
        { role: 'user', text: 'echo' },
      ],
      temperature: 0,
      topP: 0.5,
      topK: 3,
      maxTokens: 64,
      stop: ['1', '2', '3', '4', '5', '6'],
      seed: 7,
    });

    expect(JSON.parse(text)).toMatchObject({
      systemInstruction: { role: 'system', parts: [{ text: 'Be brief.' }] },
      contents: [
        { role: 'user', parts: [{ text: 'hi' }] },
        { role: 'model', parts: [{ text: 'hello' }] },
        { role: 'user', parts: [{ text: 'echo' }] },
      ],
      generationConfig: {
        temperature: 0,
        topP: 0.5,
        topK: 3,
        maxOutputTokens: 64,
        stopSequences: ['1', '2', '3', '4', '5'],
        seed: 7,
      },
    });
  });

  it('is asked for without what the prompt leaves open', async () => {
    const silent = gemini({ apiKey: KEY, model: 'gemini-2.0-flash', baseUrl: fake.url });
    const { text } = await hear(silent, 'echo');
    const body: unknown = JSON.parse(text);

    expect(body).toMatchObject({ contents: [{ role: 'user', parts: [{ text: 'echo' }] }] });
    expect(body).toHaveProperty('generationConfig', {});
    expect(body).not.toHaveProperty('systemInstruction');
  });

  it('has every part of a frame with several, in order', async () => {
    const { deltas } = await hear(provider, 'several-parts');

    expect(deltas.slice(0, -1)).toEqual([
      { type: 'text', text: 'one ' },
      { type: 'text', text: 'two ' },
      { type: 'text', text: 'three' },
    ]);
  });

  it('keeps thoughts apart from the text, and counts them as output', async () => {
    const { deltas } = await hear(provider, 'thoughts');

    expect(deltas).toEqual([
      { type: 'thought', text: 'Let me think. ' },
      { type: 'thought', text: 'Yes.' },
      { type: 'text', text: 'It is so.' },
      {
        type: 'finish',
        reason: 'stop',
        usage: { input_tokens: 9, output_tokens: 8 },
        model: MODEL,
      },
    ]);
  });

  it('passes over frames and parts that are empty', async () => {
    const { deltas } = await hear(provider, 'empty-parts');

    expect(deltas.slice(0, -1)).toEqual([{ type: 'text', text: 'Still here.' }]);
  });

  it('passes over parts of a kind that it does not know', async () => {
    const { deltas, error } = await hear(provider, 'unknown-part');

    expect(error).toBeUndefined();
    expect(deltas.slice(0, -1)).toEqual([{ type: 'text', text: 'Known.' }]);
  });

  it('takes a finish reason that it does not know for "other"', async () => {
    const { text, deltas } = await hear(provider, 'unknown-enum');

    expect(text).toBe('Known.');
    expect(deltas.at(-1)).toMatchObject({ type: 'finish', reason: 'other' });
  });

  it('finishes only at the end of the stream, with the usage that comes after the reason', async () => {
    const { deltas } = await hear(provider, 'late-usage');

    expect(deltas).toEqual([
      { type: 'text', text: 'Done.' },
      {
        type: 'finish',
        reason: 'stop',
        usage: { input_tokens: 7, output_tokens: 42 },
        model: MODEL,
      },
    ]);
  });

  it('keeps characters whole that are cut between packets', async () => {
    const { text, error } = await hear(provider, 'split-utf8');

    expect(error).toBeUndefined();
    expect(text).toBe('für 🌊 und 👩‍💻 日本');
  });

  it('has sixteen deltas when sixteen tokens come in one packet', async () => {
    const { deltas } = await hear(provider, 'burst');

    expect(deltas.filter(({ type }) => type === 'text')).toHaveLength(16);
  });

  it('may have 20 MB', async () => {
    const { text, deltas } = await hear(provider, 'huge');

    expect(text.length).toBeGreaterThan(20_000_000);
    expect(deltas.at(-1)).toMatchObject({ type: 'finish', reason: 'stop' });
  });

  it.each([
    ['STOP', 'stop'],
    ['MAX_TOKENS', 'length'],
    ['MALFORMED_FUNCTION_CALL', 'other'],
    ['OTHER', 'other'],
  ])('that ends with %s finishes with "%s"', async (wire, reason) => {
    const { text, deltas } = await hear(provider, `finish-${wire}`);

    expect(text).toBe(BEGUN);
    expect(deltas.at(-1)).toMatchObject({ type: 'finish', reason });
  });
});

describe('a failure of gemini', () => {
  it.each([
    'SAFETY',
    'RECITATION',
    'LANGUAGE',
    'PROHIBITED_CONTENT',
    'BLOCKLIST',
    'SPII',
    'IMAGE_SAFETY',
  ])('is "content_filter" when the answer ends with %s', async (reason) => {
    const { text, deltas, error } = await hear(provider, `finish-${reason}`);

    expect(text).toBe(BEGUN);
    expect(deltas.every(({ type }) => type === 'text')).toBe(true);
    expect(error).toMatchObject({
      failure: 'content_filter',
      message:
        'unable to answer: the safety rules of the model do not allow it; change the question',
      detail: `the safety rules of gemini refuse the answer (${reason})`,
    });
  });

  it('is "content_filter" when the prompt is refused', async () => {
    const { error } = await hear(provider, 'blocked');

    expect(error).toMatchObject({
      failure: 'content_filter',
      detail: 'the safety rules of gemini refuse the prompt (SAFETY)',
    });
  });

  it.each([
    ['400', 'bad_request', /HTTP 400: Request contains an invalid argument\.$/],
    ['400-key', 'misconfigured', /API key not valid.*Check GEMINI_API_KEY$/],
    ['400-location', 'misconfigured', /User location is not supported/],
    ['401', 'misconfigured', /Check GEMINI_API_KEY$/],
    ['403', 'misconfigured', /project 123456789012 .*Check GEMINI_API_KEY$/],
    ['404', 'misconfigured', /models\/unknown is not found.*Check GEMINI_MODEL$/],
    ['503', 'unavailable', /HTTP 503: The model is overloaded/],
    ['html', 'unavailable', /HTTP 502$/],
    ['html-200', 'unavailable', /nothing of its protocol came\. Check .*GEMINI_BASE_URL/],
    ['cut-first', 'unavailable', /^unable to reach gemini: connection closed\./],
    ['cut-open', 'unavailable', /^unable to reach gemini: connection closed\./],
  ])('answering %s is "%s" and says why to the operator alone', async (fault, failure, detail) => {
    const { deltas, error } = await hear(provider, fault);

    expect(deltas).toEqual([]);
    expect(error).toMatchObject({ name: 'ProviderError', failure });
    expect(error).toHaveProperty('detail', expect.stringMatching(detail));
    expect(error).toHaveProperty('message', expect.stringMatching(FOR_VISITORS));
  });

  it('is "busy" on 429, and says when to come back', async () => {
    const { error } = await hear(provider, '429');

    expect(error).toMatchObject({ failure: 'busy', retryAfterMs: 37_000 });
  });

  it('is "unavailable" when nothing listens there', async () => {
    const nobody = gemini({ apiKey: KEY, model: 'm', baseUrl: await unusedUrl() });
    const { error } = await hear(nobody, 'hello');

    expect(error).toMatchObject({ failure: 'unavailable' });
  });

  it('is seen when an error frame comes in the middle of the text', async () => {
    const { text, error } = await hear(provider, 'error-frame');

    expect(text).toBe(BEGUN);
    expect(error).toMatchObject({ failure: 'unavailable' });
    expect(error).toHaveProperty('detail', expect.stringMatching(/HTTP 503: The model is over/));
  });

  it('has the delay of an error frame to the millisecond', async () => {
    const { error } = await hear(provider, 'error-frame-busy');

    expect(error).toMatchObject({ failure: 'busy', retryAfterMs: 1_500 });
  });

  it.each([
    ['its stream ends without a finish reason', 'silent-end'],
    ['its connection is cut', 'cut'],
    ['an error comes that is not a frame', 'error-frame-raw'],
    ['a frame cannot be read', 'junk-frame'],
  ])('is "truncated" when %s after some text', async (_, fault) => {
    const { text, deltas, error } = await hear(provider, fault);

    expect(BEGUN.startsWith(text)).toBe(true);
    expect(deltas.every(({ type }) => type === 'text')).toBe(true);
    expect(error).toMatchObject({ failure: 'truncated' });
  });

  it('is "truncated" when its stream ends before the first token', async () => {
    const { error } = await hear(provider, 'silent-end-first');

    expect(error).toMatchObject({ failure: 'truncated' });
  });

  it('quotes at most 200 characters of what gemini says', async () => {
    const { error } = await hear(provider, 'long-words');

    expect(error).toHaveProperty('detail', expect.stringMatching(/HTTP 400: (Too long\. ){20}$/));
  });

  it('quotes no markup', async () => {
    const { error } = await hear(provider, 'markup-words');

    expect(error).toHaveProperty('detail', expect.stringMatching(/HTTP 500$/));
  });

  it.each(
    [
      'leak',
      'leak key',
      'junk-frame',
      '400',
      '403',
      '429',
      'html',
      'html-200',
      'error-frame',
      'cut',
    ].map((fault) => fault.replace(/^(\S+)/, `$1 ${SECRET}`)),
  )('repeats neither key nor prompt nor answer: %s', async (question) => {
    const { error } = await hear(provider, question);
    const shown = inspect(error, { depth: 10, showHidden: true });

    expect(error).toHaveProperty('name', 'ProviderError');
    expect(shown).not.toContain(KEY);
    expect(shown).not.toContain(SECRET);
    expect(shown).not.toContain('This is');
  });
});

describe('the thinking of gemini', () => {
  const askedFor = async (model: string, prompt: Prompt): Promise<unknown> => {
    const own = gemini({ apiKey: KEY, model, baseUrl: fake.url });
    const body = JSON.parse((await hear(own, prompt)).text);
    return body.generationConfig.thinkingConfig;
  };

  it.each([
    'gemini-2.5-flash',
    'gemini-2.5-pro-preview-06-05',
    'models/gemini-2.5-pro',
    'gemini-3-pro-preview',
    'gemini-3.1-flash-lite',
  ])('is asked of %s always, which would be silent meanwhile', async (model) => {
    expect(await askedFor(model, toPrompt('echo'))).toEqual({ includeThoughts: true });
  });

  it.each([
    'gemini-2.0-flash',
    'gemini-2.5-flash-lite',
    'gemini-2.5-flash-image',
    'gemini-2.5-pro-preview-tts',
    'gemma-3-27b-it',
  ])('is asked of %s only where it is wanted', async (model) => {
    expect(await askedFor(model, toPrompt('echo'))).toBeUndefined();
    expect(await askedFor(model, { ...toPrompt('echo'), thoughts: true })).toEqual({
      includeThoughts: true,
    });
  });

  it.each(['no-thinking', 'no-thinking-config'])(
    'is not asked again of a model that refuses it (%s)',
    async (question) => {
      const own = gemini({ apiKey: KEY, model: MODEL, baseUrl: fake.url });
      const { requests } = await fake.stats();
      const both = await Promise.all([hear(own, question), hear(own, question)]);
      expect(both.map(({ text }) => text)).toEqual(['I do not think.', 'I do not think.']);
      expect(await fake.stats()).toMatchObject({ requests: requests + 4 });
      expect((await hear(own, question)).text).toBe('I do not think.');
      expect(await fake.stats()).toMatchObject({ requests: requests + 5 });
    },
  );
});

describeLeaving(
  'gemini',
  () => fake,
  () => provider,
);
