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

/** Questions, and the page or the section that answers each. */
const ABOUT_RIVULET = [
  ['What is Rivulet?', 'index.md#what-is-rivulet'],
  ['How do I get started?', 'getting-started.md'],
  ['How do I create a client?', 'client.md#create-a-client'],
  ['how can i use it in svelte', 'frameworks.md#svelte'],
  ['How do I use it in React?', 'frameworks.md#react'],
  ['Does it work with Next.js?', 'server-rendering.md#nextjs'],
  [
    'What happens to an answer when the connection drops?',
    'reconnecting.md#what-happens-when-the-connection-drops',
  ],
  ['How do I resume after a reload?', '#resume-after-a-reload'],
  ['Why does the client reconnect forever?', 'troubleshooting.md'],
  ['How do I stop an answer?', 'client.md#stop-an-answer'],
  ['How do I add Gemini or Ollama?', 'providers.md#choose-a-model-gemini-openai-or-ollama'],
  ['Is my data cached? What about privacy?', 'caching.md'],
  ['Where are chats kept?', 'chats.md#where-chats-are-kept'],
  ['which environment variables are there', 'server-options.md'],
  ['What does the error overloaded mean?', 'errors.md#error-codes'],
  ['What is LLM_CACHE_TTL?', 'caching.md#the-cache-on-the-server'],
  ['CORS origin error', 'server.md#which-pages-may-connect'],
  ['Does it support function calling?', 'tools.md'],
  ['How do I set up nginx with TLS?', 'deployment.md#nginx'],
  ['Does it run with several processes and Redis?', 'scaling.md'],
  ['How can I test my app with Vitest?', 'testing.md'],
  ['type-ahead with RxJS', 'rxjs.md#answer-while-the-user-types-type-ahead'],
  ['How do I define a tool?', 'tools.md#define-a-tool'],
  ['How do I write a provider of my own?', 'providers.md#write-a-provider-of-your-own'],
  ['Prometheus metrics', 'observability.md#metrics'],
  ['Can I use it in React Native?', 'platforms.md#react-native'],
  ['How do I authenticate users?', 'server.md#identify-users'],
  ['bill tokens for each user', 'hooks.md#keep-transcripts-and-bill'],
  ['StreamResumeRequest fields', 'PROTOCOL.md#streamresumerequest'],
  ['Where does each thing live?', 'CONTRIBUTING.md#where-each-thing-lives'],
] as const;

const ABOUT_OTHER_THINGS = [
  'What is a delta?',
  'What is the weather?',
  'What is the weather in Paris today?',
  'Tell me a joke',
  'What time is it?',
  'Hello',
  'How do I boil an egg?',
  'Who won the world cup in 2014?',
  'Write a poem about the sea',
  'What is the capital of France?',
  'How do I bake bread?',
  'Explain quantum entanglement',
  'Translate hello into German',
  'How do I sort a list in Python?',
  'What is the meaning of life?',
  'What is 17 times 23?',
  'xyzzy plugh',
  'what is it?',
];

/** The first words, which say that nothing was found. */
const NOTHING = 'I found nothing about that in the documentation';
/** The longest answer to a question about something else, in UTF-16 units. */
const SHORT_UNITS = 700;

describe('the built-in provider', () => {
  it.each(ABOUT_RIVULET)('answers %j from %s', async (question, place) => {
    const [, linked] =
      /From \[[^\]]+\]\(\/docs\/([^)]+)\)/.exec((await ask(question)).join('')) ?? [];
    expect(linked).toContain(place);
  });

  it.each(ABOUT_OTHER_THINGS)('says of %j that it found nothing, and no more', async (question) => {
    const answer = (await ask(question)).join('');
    expect(answer).toContain(NOTHING);
    expect(answer.length).toBeLessThan(SHORT_UNITS);
  });

  it('searches for the beginning of a long question alone', async () => {
    expect((await ask(`${'the '.repeat(200)}What is Rivulet?`)).join('')).toContain(NOTHING);
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

  it('links to headings that are there', () => {
    const slugs = readSections().map(({ file, slug }) => `${file}#${slug}`);
    expect(slugs.length).toBeGreaterThan(30);
    expect(new Set(slugs).size).toBe(slugs.length);
  });

  it('links from one document to another as the page can follow it', () => {
    const bodies = readSections().map(({ body }) => body.replaceAll(/^```.*?^```/gms, ''));
    expect(bodies.some((body) => body.includes('](/docs/PROTOCOL.md#'))).toBe(true);
    const others = /\]\((?!\/docs\/|https?:|#)/;
    expect(bodies.filter((body) => others.test(body))).toEqual([]);
  });

  it('has the description of an image in the place of the image', () => {
    const bodies = readSections().map(({ body }) => body);
    expect(
      bodies.filter((body) => /^Two graphs of 1,000 streams over one, two/m.test(body)),
    ).toHaveLength(1);
    expect(bodies.filter((body) => body.includes('!['))).toEqual([]);
  });

  it('takes a heading inside fenced code for no heading', () => {
    const sections = splitSections(
      '# Title\n\nlead\n\n## A\n\ntext\n\n```sh\n## not one\n```\n\n## B `b`!\n\nmore\n',
    );
    expect(sections).toEqual([
      { title: 'Title', slug: 'title', body: 'lead' },
      { title: 'A', slug: 'a', body: 'text\n\n```sh\n## not one\n```' },
      { title: 'B b!', slug: 'b-b', body: 'more' },
    ]);
  });
});
