import { inspect } from 'node:util';

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { ollama } from '../../packages/server/src/providers/ollama/ollama.js';
import type { Prompt, Provider } from '../../packages/server/src/providers/provider.js';
import { answerTo } from '../fakes/shared.js';
import { hear, startFake, toPrompt, unusedUrl, type RunningFake } from '../harness/fakes.js';
import { describeLeaving } from '../harness/leaving.js';

const MODEL = 'llama3.2';
const SECRET = 'xyzzy plugh';
const BEGUN = 'This is how it begins. ';

/** The sentence that a visitor may read: no name of a host, model or setting, and no words of upstream. */
const FOR_VISITORS = /^unable to [a-z ]+: [a-z ;]+$/;

let fake: RunningFake;
let provider: Provider;

beforeAll(async () => {
  fake = await startFake('ollama');
  provider = ollama({ host: fake.url, model: MODEL });
});

afterAll(() => fake.stop());

describe('an answer of ollama', () => {
  it('arrives whole and in order, and finishes with the counts of its last line', async () => {
    const { text, deltas, error } = await hear(provider, 'why is the sky blue?');

    expect(error).toBeUndefined();
    expect(text).toBe(answerTo('why is the sky blue?'));
    expect(deltas.length).toBeGreaterThan(20);
    expect(deltas.at(-1)).toEqual({
      type: 'finish',
      reason: 'stop',
      usage: { input_tokens: 26, output_tokens: deltas.length - 1 },
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
      stop: ['END', '\n\n'],
      seed: 7,
    });

    expect(JSON.parse(text)).toEqual({
      model: MODEL,
      stream: true,
      truncate: false,
      shift: false,
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'hi' },
        { role: 'assistant', content: 'hello' },
        { role: 'user', content: 'echo' },
      ],
      options: {
        temperature: 0,
        top_p: 0.5,
        top_k: 3,
        num_predict: 64,
        stop: ['END', '\n\n'],
        seed: 7,
      },
    });
  });

  it('is asked for without what the prompt leaves open', async () => {
    const { text } = await hear(provider, 'echo');

    expect(JSON.parse(text)).toEqual({
      model: MODEL,
      stream: true,
      truncate: false,
      shift: false,
      messages: [{ role: 'user', content: 'echo' }],
      options: {},
    });
  });

  it('is asked for with the schema of the prompt as its format', async () => {
    const responseSchema = { type: 'object', properties: { city: { type: 'string' } } };
    const { text } = await hear(provider, { ...toPrompt('echo'), responseSchema });
    expect(JSON.parse(text)).toMatchObject({ format: responseSchema });
  });

  it('is asked for with the context and the time in memory that the operator set', async () => {
    const own = ollama({ host: fake.url, model: MODEL, numCtx: 8192, keepAlive: '10m' });
    const { text } = await hear(own, 'echo');

    expect(JSON.parse(text)).toMatchObject({ keep_alive: '10m', options: { num_ctx: 8192 } });
  });

  it('is asked for with the login of the host', async () => {
    const host = fake.url.replace('http://', 'http://me:p%40ss%C3%A9@');
    const { text } = await hear(ollama({ host, model: MODEL }), 'echo-authorization');

    expect(text).toBe(`Basic ${Buffer.from('me:p@ssé').toString('base64')}`);
  });

  it('has every line of a packet with several, in order', async () => {
    const { deltas } = await hear(provider, 'several-parts');

    expect(deltas.slice(0, -1)).toEqual([
      { type: 'text', text: 'one ' },
      { type: 'text', text: 'two ' },
      { type: 'text', text: 'three' },
    ]);
  });

  it('has the text of its last line', async () => {
    const { text, deltas } = await hear(provider, 'done-with-text');

    expect(text).toBe('All said.');
    expect(deltas.at(-1)).toMatchObject({ type: 'finish', reason: 'stop' });
  });

  it('keeps thinking apart from the text', async () => {
    const { deltas } = await hear(provider, 'thoughts');

    expect(deltas.slice(0, -1)).toEqual([
      { type: 'thought', text: 'Let me think. ' },
      { type: 'thought', text: 'Yes.' },
      { type: 'text', text: 'It is so.' },
    ]);
  });

  it('passes over lines without text', async () => {
    const { deltas } = await hear(provider, 'empty-parts');

    expect(deltas.slice(0, -1)).toEqual([{ type: 'text', text: 'Still here.' }]);
  });

  it('passes over fields that it does not know', async () => {
    const { deltas } = await hear(provider, 'unknown-part');

    expect(deltas.slice(0, -1)).toEqual([{ type: 'text', text: 'Known.' }]);
  });

  it('leaves out a count that ollama leaves out', async () => {
    const { deltas } = await hear(provider, 'no-counts');

    expect(deltas.at(-1)).toEqual({
      type: 'finish',
      reason: 'stop',
      usage: {},
      model: MODEL,
    });
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
    ['stop', 'stop'],
    ['length', 'length'],
    ['load', 'other'],
    ['unload', 'other'],
    ['tired', 'other'],
  ])('that ends with %s finishes with "%s"', async (wire, reason) => {
    const { text, deltas } = await hear(provider, `finish-${wire}`);

    expect(text).toBe(BEGUN);
    expect(deltas.at(-1)).toMatchObject({ type: 'finish', reason });
  });
});

describe('a failure of ollama', () => {
  it.each([
    ['400', 'bad_request', /HTTP 400: invalid options: temperature$/],
    ['401', 'misconfigured', /HTTP 401: unauthorized\. Check the login in OLLAMA_HOST$/],
    ['403', 'misconfigured', /HTTP 403: forbidden\. Check the login in OLLAMA_HOST$/],
    [
      '404',
      'misconfigured',
      /'llama3\.2' not found\. Install the model with `ollama pull llama3\.2`/,
    ],
    ['404-path', 'misconfigured', /HTTP 404\. No Ollama answers at this URL\. Check OLLAMA_HOST$/],
    [
      'no-chat',
      'misconfigured',
      /does not support chat\. Set OLLAMA_MODEL to a model that can chat$/,
    ],
    ['429', 'busy', /HTTP 429: too many requests$/],
    ['500', 'unavailable', /HTTP 500: model requires more system memory/],
    ['500-option', 'bad_request', /HTTP 500: option "num_ctx" must be of type integer$/],
    ['500-format', 'bad_request', /HTTP 500: invalid format: "nonsense"/],
    ['503', 'busy', /HTTP 503: server busy, please try again\. maximum pending/],
    ['html', 'unavailable', /HTTP 502$/],
    ['html-503', 'unavailable', /HTTP 503$/],
    ['html-200', 'unavailable', /nothing of its protocol came\. Check .* OLLAMA_HOST$/],
    ['cut-first', 'unavailable', /^unable to reach ollama: connection closed\./],
    ['cut-open', 'unavailable', /^unable to reach ollama: connection closed\./],
    ['error-first', 'unavailable', /^ollama failed while it answered: llama runner process/],
  ])('answering %s is "%s" and says why to the operator alone', async (fault, failure, detail) => {
    const { deltas, error } = await hear(provider, fault);

    expect(deltas).toEqual([]);
    expect(error).toMatchObject({ name: 'ProviderError', failure });
    expect(error).toHaveProperty('detail', expect.stringMatching(detail));
    expect(error).toHaveProperty('message', expect.stringMatching(FOR_VISITORS));
  });

  it('is "unavailable" when nothing listens there, and says what to do', async () => {
    const host = await unusedUrl();
    const { error } = await hear(ollama({ host, model: MODEL }), 'hello');

    expect(error).toMatchObject({
      failure: 'unavailable',
      detail:
        'unable to reach ollama: connection refused. Check that it is running (`ollama serve`), and OLLAMA_HOST',
    });
  });

  it('is seen when an error line comes in the middle of the text', async () => {
    const { text, error } = await hear(provider, 'error-frame');

    expect(text).toBe(BEGUN);
    expect(error).toMatchObject({
      failure: 'unavailable',
      detail: 'ollama failed while it answered: an error was encountered while running the model',
    });
  });

  it.each([
    ['its stream ends without a last line', 'silent-end'],
    ['its last line has no reason', 'no-reason'],
    ['its connection is cut', 'cut'],
    ['a line is no object', 'junk-frame'],
    ['its last line is cut', 'cut-line'],
  ])('is "truncated" when %s', async (_, fault) => {
    const { text, deltas, error } = await hear(provider, fault);

    expect(text).toBe(BEGUN);
    expect(deltas.every(({ type }) => type === 'text')).toBe(true);
    expect(error).toMatchObject({ failure: 'truncated' });
  });

  it('is "truncated" when its stream ends before the first token', async () => {
    const { error } = await hear(provider, 'silent-end-first');

    expect(error).toMatchObject({ failure: 'truncated' });
  });

  it('quotes at most 200 characters of what ollama says', async () => {
    const { error } = await hear(provider, 'long-words');
    const words = 'too long '.repeat(23).slice(0, 200);

    expect(error).toHaveProperty('detail', `ollama answered HTTP 400: ${words}`);
  });

  it('quotes no markup', async () => {
    const { error } = await hear(provider, 'markup-words');

    expect(error).toHaveProperty('detail', expect.stringMatching(/HTTP 500$/));
  });

  it.each(
    ['leak', 'junk-frame', '400', '404', 'html', 'html-200', 'error-frame', 'cut'].map(
      (fault) => `${fault} ${SECRET}`,
    ),
  )('repeats neither prompt nor answer: %s', async (question) => {
    const { error } = await hear(provider, question);
    const shown = inspect(error, { depth: 10, showHidden: true });

    expect(error).toHaveProperty('name', 'ProviderError');
    expect(shown).not.toContain(SECRET);
    expect(shown).not.toContain('This is');
  });

  it('does not repeat a login that stands in the host', async () => {
    const host = (await unusedUrl()).replace('http://', 'http://zoe:open-sesame@');
    const { error } = await hear(ollama({ host, model: MODEL }), 'hello');

    expect(error).toMatchObject({ failure: 'unavailable' });
    expect(inspect(error, { depth: 10, showHidden: true })).not.toMatch(/open-sesame|zoe/);
  });

  it('writes nothing to the console when a proxy refuses in HTML', async () => {
    const log = vi.spyOn(console, 'log');
    await hear(provider, 'html');

    expect(log).not.toHaveBeenCalled();
    log.mockRestore();
  });

  it.each(['cut-line', 'junk-line'])(
    'writes nothing of the answer to the console (%s)',
    async (fault) => {
      const warn = vi.spyOn(console, 'warn');
      const { text } = await hear(provider, `${fault} ${SECRET}`);

      expect(text).toBe(BEGUN);
      expect(warn).not.toHaveBeenCalled();
      warn.mockRestore();
    },
  );
});

describe('the thinking of ollama', () => {
  it('is asked for only where it is wanted', async () => {
    const askedFor = async (prompt: Prompt): Promise<unknown> =>
      JSON.parse((await hear(provider, prompt)).text).think;
    expect(await askedFor(toPrompt('echo'))).toBeUndefined();
    expect(await askedFor({ ...toPrompt('echo'), thoughts: true })).toBe(true);
  });
});

describeLeaving(
  'ollama',
  () => fake,
  () => provider,
);
