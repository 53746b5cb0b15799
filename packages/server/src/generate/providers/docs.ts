import MiniSearch from 'minisearch';
import { type DocsSection, readSections } from './docs-sections.js';
import type { Delta, Provider } from './provider.js';
import { pause } from './scripted.js';

export interface DocsOptions {
  /** Milliseconds between words; as a model would, unless given. */
  wordMs?: number;
  /** What is searched; Rivulet's own documentation unless given. */
  sections?: readonly DocsSection[];
}

const NO_MODEL =
  'This is the built-in search over the documentation, not a language model. ' +
  'To talk to one, set `GEMINI_API_KEY`, or run [Ollama](https://ollama.com) with a model, and start again.';

/** Answers from the project's own documentation, so that Rivulet shows what it does with nothing set up. */
export function docs({ wordMs = 18, sections = readSections() }: DocsOptions = {}): Provider {
  const index = new MiniSearch<DocsSection>({
    fields: ['title', 'body'],
    processTerm: (term) => (STOP_WORDS.has(term.toLowerCase()) ? null : stem(term.toLowerCase())),
    searchOptions: { boost: { title: 3 }, fuzzy: 0.15, prefix: (term) => term.length > 3 },
  });
  index.addAll(sections);
  const byId = new Map(sections.map((section) => [section.id, section]));

  return {
    name: 'docs',
    model: 'documentation',
    async *stream({ messages }, signal): AsyncGenerator<Delta, void, undefined> {
      signal.throwIfAborted();
      const [best] = index.search(messages.at(-1)?.text ?? '');
      const section = best && byId.get(best['id'] as number);
      const answer = section === undefined ? nothingFound(sections) : quote(section);
      for (const word of answer.match(/\s*\S+\s*/g) ?? []) {
        await pause(wordMs, signal);
        yield { type: 'text', text: word };
      }
      yield { type: 'finish', reason: 'stop', usage: {} };
    },
  };
}

function quote({ file, title, slug, body }: DocsSection): string {
  return `## ${title}\n\n${body}\n\n---\n\nFrom [${file}, “${title}”](/docs/${file}#${slug}). ${NO_MODEL}\n`;
}

function nothingFound(sections: readonly DocsSection[]): string {
  const titles = sections.slice(0, 5).map(({ title }) => `- ${title}`);
  return [
    'I found nothing about that in the documentation.',
    `It has, among others:\n\n${titles.join('\n')}`,
    NO_MODEL,
  ].join('\n\n');
}

/** Enough for English questions: "caches" and "caching" find "cache". */
function stem(term: string): string {
  return term.length > 4 ? term.replace(/(ing|ed|es|s|e)$/, '') : term;
}

const STOP_WORDS = new Set(
  (
    'a an and are as at be by can could did do does for from get had has have how i if in into is it its ' +
    'me my of on or our should tell than that the their them then there these they this to us was we ' +
    'what when where which who why will with would you your'
  ).split(' '),
);
