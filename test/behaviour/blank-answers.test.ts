import type { ServerResponse } from 'node:http';
import { createResponseCache, gemini, mockProvider, ollama, type Provider } from '@rivulet/server';
import { describe, expect, it } from 'vitest';
import { hear } from '../harness/fakes.js';
import { entriesOf, serviceOf, textOf } from '../harness/service.js';
import { sendPieces, startUpstream } from '../harness/upstream.js';

interface Part {
  text: string;
  thought?: boolean;
}

/** How each provider sends parts of an answer and how it ended. */
const WIRES = {
  gemini: {
    provider: (url: string): Provider =>
      gemini({ apiKey: 'k', model: 'gemini-2.5-flash', baseUrl: url }),
    reasons: { stop: 'STOP', length: 'MAX_TOKENS', other: 'MALFORMED_FUNCTION_CALL' },
    send: (response: ServerResponse, parts: Part[], finishReason: string) =>
      sendPieces(response, 'text/event-stream', [
        ...parts.map(
          (part) => `data: ${JSON.stringify({ candidates: [{ content: { parts: [part] } }] })}\n\n`,
        ),
        `data: ${JSON.stringify({ candidates: [{ content: {}, finishReason }] })}\n\n`,
      ]),
  },
  ollama: {
    provider: (url: string): Provider => ollama({ host: url, model: 'm' }),
    reasons: { stop: 'stop', length: 'length', other: 'load' },
    send: (response: ServerResponse, parts: Part[], reason: string) =>
      sendPieces(response, 'application/x-ndjson', [
        ...parts.map(
          ({ text, thought }) =>
            JSON.stringify({
              message: thought ? { content: '', thinking: text } : { content: text },
            }) + '\n',
        ),
        `${JSON.stringify({ message: { content: '' }, done: true, done_reason: reason })}\n`,
      ]),
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

describe.each(['gemini', 'ollama'] as const)('an answer of %s', (name) => {
  const { provider, reasons, send } = WIRES[name];
  const upstream = async (parts: Part[], reason: keyof typeof reasons) => {
    const { url, requests } = await startUpstream((_, response) =>
      send(response, parts, reasons[reason]),
    );
    return { model: provider(url), requests };
  };

  describe.each(BLANK)('with %s', (_, parts) => {
    it.each(['stop', 'other'] as const)('is a failure that shows no text (%s)', async (reason) => {
      const { model } = await upstream(parts, reason);
      const { text, deltas, error } = await hear(model, 'hello');
      expect(text).toBe('');
      expect(deltas.filter(({ type }) => type !== 'thought')).toEqual([]);
      expect(error).toMatchObject({
        failure: 'unavailable',
        message: 'unable to get an answer: the model gave an empty one',
      });
    });

    it('says so where the limit of tokens was reached, and another try would not help', async () => {
      const { model } = await upstream(parts, 'length');
      const { text, error } = await hear(model, 'hello');
      expect(text).toBe('');
      expect(error).toMatchObject({ failure: 'bad_request' });
      expect(error).toHaveProperty('message', expect.stringMatching(/limit of tokens/));
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
        const questions = requests.filter(({ path }) => /\/api\/chat$|Content\b/.test(path));
        expect(questions).toHaveLength(asked);
      }
    });
  });

  it('keeps the white space before its first visible character', async () => {
    const { model } = await upstream([SPACE, THOUGHT, SPACE, { text: 'a' }, SPACE], 'stop');
    const { deltas } = await hear(model, 'hello');
    expect(deltas).toEqual([
      { type: 'thought', text: 'Hm. ' },
      { type: 'text', text: '\n  \n  a' },
      { type: 'text', text: '\n  ' },
      expect.objectContaining({ type: 'finish', reason: 'stop' }),
    ]);
  });

  it('with white space and no end is given up', async () => {
    const { model } = await upstream(
      Array.from({ length: 5_000 }, () => SPACE),
      'stop',
    );
    const { deltas, error } = await hear(model, 'hello');
    expect(deltas).toEqual([]);
    expect(error).toMatchObject({ failure: 'unavailable' });
  });
});
