import { gemini, ollama, openai, type PromptMessage, type Provider } from '@rivulet/server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hear, type RunningFake, startFake, toPrompt } from '../harness/fakes.js';

/** An exchange of about `tokens` tokens. */
function exchange(i: number, tokens: number): PromptMessage[] {
  const text = `${i} `.padEnd(tokens * 2, 'word ');
  return [
    { role: 'user', text: `q${text}` },
    { role: 'assistant', text: `a${text}` },
  ];
}

const toolTurn: PromptMessage[] = [
  { role: 'user', text: 'look it up' },
  {
    role: 'assistant',
    text: '',
    toolCalls: [{ callId: 'call-1', providerId: 'id', name: 't', arguments: {} }],
  },
  { role: 'tool', results: [{ callId: 'call-1', name: 't', result: 'x'.repeat(3_000) }] },
  { role: 'assistant', text: 'found' },
];

type Name = 'gemini' | 'openai' | 'ollama';
let fakes: Record<Name, RunningFake>;
let providers: Record<Name, Provider>;

beforeAll(async () => {
  const [google, compatible, local] = await Promise.all([
    startFake('gemini'),
    startFake('openai'),
    startFake('ollama'),
  ]);
  fakes = { gemini: google, openai: compatible, ollama: local };
  // All read 512 tokens.
  providers = {
    gemini: gemini({ apiKey: 'k', model: 'gemini-tiny', baseUrl: google.url }),
    openai: openai({ model: 'gpt-tiny', baseUrl: `${compatible.url}/v1` }),
    ollama: ollama({ host: local.url, model: 'stories' }),
  };
});

afterAll(() => Promise.all(Object.values(fakes).map((fake) => fake.stop())));

describe.each(['gemini', 'openai', 'ollama'] as const)(
  'a conversation that is too long for %s',
  (name) => {
    const ask = async (messages: PromptMessage[], system = 'Be brief.') => {
      const { requests } = await fakes[name].stats();
      const heard = await hear(providers[name], { ...toPrompt(''), system, messages });
      return { ...heard, requests: (await fakes[name].stats()).requests - requests };
    };
    const sent = (text: string): string[] => {
      const body = JSON.parse(text) as {
        messages?: { role: string; content: string }[];
        contents?: { parts: { text?: string }[] }[];
      };
      return (
        body.contents?.map(({ parts }) => parts[0]?.text ?? '') ??
        body.messages!.filter(({ role }) => role !== 'system').map(({ content }) => content)
      );
    };

    it('is asked without its oldest exchanges, and says how many messages that were', async () => {
      const history = Array.from({ length: 100 }, (_, i) => exchange(i, 50)).flat();
      const { deltas, text, error, requests } = await ask([
        ...history,
        { role: 'user', text: 'echo' },
      ]);
      expect(error).toBeUndefined();
      const kept = sent(text);
      expect(deltas[0]).toEqual({ type: 'omitted', messages: history.length + 1 - kept.length });
      expect(deltas.filter(({ type }) => type === 'omitted')).toHaveLength(1);
      expect(kept).toEqual(
        [...history.map((message) => 'text' in message && message.text), 'echo'].slice(
          -kept.length,
        ),
      );
      expect(kept[0]).toMatch(/^q/);
      expect(kept.length).toBeGreaterThanOrEqual(3);
      expect(requests).toBeLessThanOrEqual(8);
      expect(JSON.parse(text)).toMatchObject(
        name === 'gemini'
          ? { systemInstruction: { parts: [{ text: 'Be brief.' }] } }
          : { messages: expect.arrayContaining([{ role: 'system', content: 'Be brief.' }]) },
      );
    });

    it('leaves out an exchange together with its tools', async () => {
      const { deltas, text } = await ask([
        ...toolTurn,
        ...exchange(2, 100),
        { role: 'user', text: 'echo' },
      ]);
      expect(deltas[0]).toEqual({ type: 'omitted', messages: toolTurn.length });
      expect(sent(text)).toHaveLength(3);
    });

    it('is never asked without its last question', async () => {
      const { deltas, text } = await ask([...exchange(1, 900), { role: 'user', text: 'echo' }]);
      expect(deltas[0]).toEqual({ type: 'omitted', messages: 2 });
      expect(sent(text)).toEqual(['echo']);
    });

    it('is sent whole where it fits', async () => {
      const { deltas, requests } = await ask([...exchange(1, 50), { role: 'user', text: 'echo' }]);
      expect(deltas[0]).toMatchObject({ type: 'text' });
      expect(requests).toBe(1);
    });

    it.each([
      ['question', 'long '.repeat(1_000), 'Be brief.'],
      ['system text', 'short', 'long '.repeat(1_000)],
    ])('is a bad request if the %s alone does not fit', async (_, text, system) => {
      const { deltas, error } = await ask([...exchange(1, 50), { role: 'user', text }], system);
      expect(deltas).toEqual([]);
      expect(error).toMatchObject({
        failure: 'bad_request',
        message: 'unable to answer: the question is too long for the model; shorten it',
        detail: expect.stringMatching(
          /HTTP 400: (the input length|The input token count|This model's maximum context)/,
        ),
      });
    });
  },
);
