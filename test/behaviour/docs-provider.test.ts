import { docs, type Prompt } from '@rivulet/server';
import { describe, expect, it } from 'vitest';
import { readSections, splitSections } from '../../packages/server/src/providers/docs/sections.js';

async function ask(question: string, wordMs = 0): Promise<string[]> {
  const prompt: Prompt = {
    system: '',
    messages: [{ role: 'user', text: question }],
    temperature: undefined,
    topP: undefined,
    topK: undefined,
    maxTokens: undefined,
  };
  const pieces: string[] = [];
  for await (const delta of docs({ wordMs }).stream(prompt, new AbortController().signal)) {
    if (delta.type === 'text') pieces.push(delta.text);
  }
  return pieces;
}

describe('the built-in provider', () => {
  it.each([
    ['What is Rivulet?', 'README.md#what-is-rivulet'],
    ['How do I use the client?', 'README.md#use-the-client'],
    [
      'What happens to an answer when the connection drops?',
      'README.md#what-happens-when-the-connection-drops',
    ],
    ['How do I add Gemini or Ollama?', 'README.md#how-to-add-gemini-or-ollama'],
    ['how can i use it in svelte', 'README.md#use-the-client-in-react-vue-svelte-angular-or-solid'],
    ['Is my data cached? What about privacy?', 'README.md#caching-and-privacy'],
    ['which environment variables are there', 'README.md#operating-it'],
    ['StreamResumeRequest fields', 'PROTOCOL.md#streamresumerequest'],
    ['How do I write a new provider?', 'CONTRIBUTING.md#how-to-add-a-provider'],
  ])('answers %j with the section that fits, and its link', async (question, link) => {
    expect((await ask(question)).join('')).toContain(`/docs/${link}`);
  });

  it('streams word by word, and the words are the section as it is written', async () => {
    const pieces = await ask('What is Rivulet?');
    expect(pieces.length).toBeGreaterThan(50);
    const section = readSections().find(({ slug }) => slug === 'what-is-rivulet')!;
    expect(pieces.join('')).toContain(section.body);
  });

  it('says that it is no language model, and how to add one', async () => {
    for (const question of ['What is Rivulet?', 'xyzzy']) {
      const answer = (await ask(question)).join('');
      expect(answer).toContain('not a language model');
      expect(answer).toContain('GEMINI_API_KEY');
      expect(answer).toContain('Ollama');
    }
  });

  it('says so when it finds nothing', async () => {
    for (const question of ['xyzzy plugh', 'what is it?']) {
      expect((await ask(question)).join('')).toContain('found nothing');
    }
  });

  it('links to headings that are there', () => {
    const slugs = readSections().map(({ file, slug }) => `${file}#${slug}`);
    expect(slugs.length).toBeGreaterThan(30);
    expect(new Set(slugs).size).toBe(slugs.length);
  });

  it('links from one document to another as the page can follow it', () => {
    const bodies = readSections().map(({ body }) => body);
    expect(bodies.some((body) => body.includes('](/docs/PROTOCOL.md)'))).toBe(true);
    expect(bodies.filter((body) => /\]\((?!\/docs\/|https?:)/.test(body))).toEqual([]);
  });

  it('takes a heading inside fenced code for no heading', () => {
    const sections = splitSections(
      '# Title\n\nlead\n\n## A\n\ntext\n\n```sh\n## not one\n```\n\n## B `b`!\n\nmore\n',
    );
    expect(sections).toEqual([
      { title: 'A', slug: 'a', body: 'text\n\n```sh\n## not one\n```' },
      { title: 'B b!', slug: 'b-b', body: 'more' },
    ]);
  });
});
