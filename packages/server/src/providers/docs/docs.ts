import { createDocsSearch } from './search.js';
import { type DocsSection, readSections } from './sections.js';
import { type Delta, type Provider, questionOf } from '../provider.js';
import { pause } from '../mock.js';

export interface DocsOptions {
  /** Milliseconds between words; as a model would, unless given. */
  wordMs?: number | undefined;
  /** What is searched; Rivulet's own documentation unless given. */
  sections?: readonly DocsSection[] | undefined;
}

const NO_MODEL =
  'This is the built-in search over the documentation, not a language model. ' +
  'To talk to one, set `GEMINI_API_KEY` or `OPENAI_API_KEY`, or run [Ollama](https://ollama.com) with a model, and start again.';

/** Answers from the project's own documentation, so that Rivulet shows what it does with nothing set up. */
export function docs({ wordMs = 18, sections = readSections() }: DocsOptions = {}): Provider {
  const search = createDocsSearch(sections);

  return {
    name: 'docs',
    model: 'documentation',
    async *stream(prompt, signal): AsyncGenerator<Delta, void, undefined> {
      signal.throwIfAborted();
      const [section] = search.find(questionOf(prompt));
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
