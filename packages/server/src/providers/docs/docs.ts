import { pause } from '../mock.js';
import { type Delta, type Provider, questionOf } from '../provider.js';
import { createDocsSearch } from './search.js';
import { type DocsSection, readSections } from './sections.js';

export interface DocsOptions {
  /** Milliseconds between words. 18 unless given, about the speed of a model. */
  wordMs?: number | undefined;
  /** The sections to search. Rivulet's own documentation unless given. */
  sections?: readonly DocsSection[] | undefined;
}

/** The number of pages in an answer if nothing was found. */
const MAX_PAGES = 5;

const NO_MODEL =
  'This is the built-in search over the documentation, not a language model. ' +
  'To talk to one, set `GEMINI_API_KEY` or `OPENAI_API_KEY`, or run [Ollama](https://ollama.com) with a model, and start again.';

/** Answers from the project's own documentation, so that the demo works without any configuration. */
export function docs({ wordMs = 18, sections = readSections() }: DocsOptions = {}): Provider {
  const search = createDocsSearch(sections);

  return {
    name: 'docs',
    model: 'documentation',
    async *stream(prompt, signal): AsyncGenerator<Delta, void, undefined> {
      signal.throwIfAborted();
      const [section] = search(questionOf(prompt));
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
  const pages = new Map(sections.map(({ file, page }) => [file, page]));
  const links = [...pages].slice(0, MAX_PAGES).map(([file, page]) => `[${page}](/docs/${file})`);
  return [
    'I found nothing about that in the documentation of Rivulet, and it is all that I can search.',
    NO_MODEL,
    `Pages of the documentation: ${links.join(', ')} and others.`,
  ].join('\n\n');
}
