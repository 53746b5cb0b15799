import type { Delta, Prompt, PromptMessage } from '@rivulet/server';
import { describe, expect, it } from 'vitest';
import { showcase, SHOWCASE_TEXT } from '../../demo/showcase.js';
import { SUGGESTIONS } from '../../demo/src/conversation/welcome.js';

async function ask(question: string, begun?: string) {
  const messages: PromptMessage[] = [{ role: 'user', text: question }];
  if (begun !== undefined) messages.push({ role: 'assistant', text: begun });
  const prompt: Prompt = {
    system: '',
    messages,
    ...(begun !== undefined && { continues: true as const }),
    temperature: undefined,
    topP: undefined,
    topK: undefined,
    maxTokens: undefined,
  };
  const provider = showcase({ tokenMs: 0 });
  const deltas: Delta[] = [];
  for await (const delta of provider.stream(prompt, new AbortController().signal)) {
    deltas.push(delta);
  }
  const textOf = (type: 'text' | 'thought') =>
    deltas.flatMap((delta) => (delta.type === type ? [delta.text] : [])).join('');
  return { deltas, text: textOf('text'), thoughts: textOf('thought') };
}

describe('the answer where no model is set up', () => {
  it.each(['Show me an answer with code, a table and a formula', 'Write a poem about the sea', ''])(
    'is the scripted one for %j, after thoughts, and always the same',
    async (question) => {
      const { deltas, text, thoughts } = await ask(question);
      expect(deltas[0]).toMatchObject({ type: 'thought' });
      expect(thoughts).toContain('no language model');
      expect(text).toBe(SHOWCASE_TEXT);
      expect(deltas.at(-1)).toMatchObject({ type: 'finish', reason: 'stop' });
    },
  );

  it('says first that no language model wrote it, and how to set one up', () => {
    expect(SHOWCASE_TEXT.slice(0, 40)).toContain('No language model wrote this');
    expect(SHOWCASE_TEXT).toContain('GEMINI_API_KEY');
    expect(SHOWCASE_TEXT).toContain('Ollama');
  });

  it.each([
    'What is Rivulet?',
    'How do I create a client?',
    'What happens to an answer when the connection drops?',
    'How do I add Gemini or Ollama?',
    'which environment variables are there',
  ])('is from the documentation for %j', async (question) => {
    expect((await ask(question)).text).toContain('built-in search over the documentation');
  });

  it.each(SUGGESTIONS)('is a long one for the suggestion $question', async ({ question }) => {
    expect((await ask(question)).text.length).toBeGreaterThan(700);
  });

  it.each([
    ['the scripted one', 'Write a poem about the sea'],
    ['one from the documentation', 'How do I create a client?'],
  ])('goes on exactly where %s was stopped', async (_, question) => {
    const { text } = await ask(question);
    const rest = await ask(question, text.slice(0, 333));
    expect(text.slice(0, 333) + rest.text).toBe(text);
    expect(rest.thoughts).toBe('');
  });
});
