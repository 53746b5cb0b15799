import {
  createResponseCache,
  gemini,
  mockProvider,
  ollama,
  openai,
  type Provider,
} from '@rivulet/server';
import { describe, expect, it } from 'vitest';
import { recorded } from '../harness/log.js';
import { entriesOf, serviceOf, textOf } from '../harness/service.js';
import { sendPieces, startUpstream } from '../harness/upstream.js';

interface Part {
  text: string;
  thought?: boolean;
}

/** The parts of an answer and its end, in the format of each provider. */
const WIRES = {
  gemini: {
    provider: (url: string): Provider =>
      gemini({ apiKey: 'k', model: 'gemini-2.5-flash', baseUrl: url }),
    reasons: { stop: 'STOP', length: 'MAX_TOKENS', other: 'MALFORMED_FUNCTION_CALL' },
    part: (part: Part) =>
      `data: ${JSON.stringify({ candidates: [{ content: { parts: [part] } }] })}\n\n`,
    end: (finishReason: string) =>
      `data: ${JSON.stringify({ candidates: [{ content: {}, finishReason }] })}\n\n`,
    type: 'text/event-stream',
  },
  openai: {
    provider: (url: string): Provider => openai({ baseUrl: `${url}/v1`, model: 'm' }),
    reasons: { stop: 'stop', length: 'length', other: 'tired' },
    part: ({ text, thought }: Part) =>
      `data: ${JSON.stringify({ choices: [{ delta: thought ? { reasoning: text } : { content: text } }] })}\n\n`,
    end: (reason: string) =>
      `data: ${JSON.stringify({ choices: [{ delta: {}, finish_reason: reason }] })}\n\ndata: [DONE]\n\n`,
    type: 'text/event-stream',
  },
  ollama: {
    provider: (url: string): Provider => ollama({ host: url, model: 'm' }),
    reasons: { stop: 'stop', length: 'length', other: 'load' },
    part: ({ text, thought }: Part) =>
      `${JSON.stringify({ message: thought ? { content: '', thinking: text } : { content: text } })}\n`,
    end: (reason: string) =>
      `${JSON.stringify({ message: { content: '' }, done: true, done_reason: reason })}\n`,
    type: 'application/x-ndjson',
  },
} as const;

const SPACE: Part = { text: '\n  ' };
const THOUGHT: Part = { text: 'Hm. ', thought: true };

const BLANK: [string, Part[]][] = [
  ['nothing', []],
  ['an empty text', [{ text: '' }]],
  ['white space', [SPACE, SPACE]],
  ['thoughts', [THOUGHT, THOUGHT]],
  ['thoughts and white space', [SPACE, THOUGHT, SPACE]],
];

describe.each(['gemini', 'openai', 'ollama'] as const)('an answer of %s', (name) => {
  const { provider, reasons, part, end, type: contentType } = WIRES[name];
  const upstream = async (parts: Iterable<Part>, reason: keyof typeof reasons) => {
    const pieces = function* (): Generator<string> {
      for (const each of parts) yield part(each);
      yield end(reasons[reason]);
    };
    const { url, requests } = await startUpstream((_, response) =>
      sendPieces(response, contentType, pieces()),
    );
    return { model: provider(url), requests };
  };

  describe.each(BLANK)('with %s', (_, parts) => {
    const answer = async (reason: 'stop' | 'other' | 'length') => {
      const { model } = await upstream(parts, reason);
      const log = recorded();
      const llm = serviceOf(model, { logger: log.logger });
      return { log, entries: await entriesOf(llm.generateResponseStream({ query: 'hello' })) };
    };

    it.each(['stop', 'other'] as const)('is a failure that shows no text (%s)', async (reason) => {
      const { entries, log } = await answer(reason);
      const message = 'unable to get an answer: the model sent an empty one; ask again';
      expect(entries).toEqual([{ type: 'error', code: 'provider_unavailable', message }]);
      expect(JSON.stringify(log.events)).toContain(`without text (${reason})`);
    });

    it('says so where the limit of tokens was reached, and another try would not help', async () => {
      const { entries, log } = await answer('length');
      const message = expect.stringMatching(/limit of tokens/);
      expect(entries).toEqual([{ type: 'error', code: 'too_large', message }]);
      expect(JSON.stringify(log.events)).toContain('LLM_MAX_TOKENS');
    });

    it('is neither shown nor kept: the next provider answers', async () => {
      const { model, requests } = await upstream(parts, 'stop');
      const cache = createResponseCache({ ttlSeconds: 60, maxBytes: 1_000_000 });
      const other = mockProvider(() => [{ text: 'from the other' }, { finish: 'stop' }]);
      const llm = serviceOf([model, other], { cache });
      for (let asked = 1; asked <= 2; asked++) {
        const entries = await entriesOf(llm.generateResponseStream({ query: 'hello' }));
        expect(textOf(entries)).toBe('from the other');
        expect(entries.at(-1)).toMatchObject({ type: 'end' });
        const questions = requests.filter(({ path }) =>
          /\/api\/chat$|\/completions$|Content\b/.test(path),
        );
        expect(questions).toHaveLength(asked);
      }
    });
  });

  it('keeps the white space before its first visible character', async () => {
    const { model } = await upstream([SPACE, THOUGHT, SPACE, { text: 'a' }, SPACE], 'stop');
    const entries = await entriesOf(serviceOf(model).generateResponseStream({ query: 'hello' }));
    expect(entries).toMatchObject([
      { type: 'start' },
      { type: 'text', text: '\n  \n  a' },
      { type: 'text', text: '\n  ' },
      { type: 'end', finishReason: 'stop' },
    ]);
  });

  it('with white space and no end is given up', async () => {
    const endless: Iterable<Part> = {
      *[Symbol.iterator]() {
        for (;;) yield SPACE;
      },
    };
    const { model } = await upstream(endless, 'stop');
    const entries = await entriesOf(serviceOf(model).generateResponseStream({ query: 'hello' }));
    expect(entries).toMatchObject([{ type: 'error', code: 'provider_unavailable' }]);
  });
});
