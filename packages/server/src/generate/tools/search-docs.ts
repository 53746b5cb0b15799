import * as z from 'zod';
import { createDocsSearch } from '../../providers/docs/search.js';
import { type DocsSection, readSections } from '../../providers/docs/sections.js';
import { defineTool, type Tool } from './tool.js';

const MAX_SECTIONS = 3;
const MAX_SECTION_UNITS = 3_000;

/** A tool that searches Rivulet's documentation, or the given sections. It returns the three best matches. */
export function searchDocs({
  sections = readSections(),
}: { sections?: readonly DocsSection[] | undefined } = {}): Tool {
  const search = createDocsSearch(sections);
  return defineTool({
    name: 'search_docs',
    description:
      'Searches the documentation of Rivulet, a library that streams the answers of language models ' +
      '(its server, browser client, wire protocol and demo). Use it for every question about Rivulet. ' +
      'Gives sections in Markdown, best first, each with a link to show.',
    parameters: z.object({
      query: z.string().trim().min(1).max(500).describe('What to look for, in a few English words'),
    }),
    execute: ({ query }) => ({
      sections: search(query)
        .slice(0, MAX_SECTIONS)
        .map(({ title, file, slug, body }) => ({
          title,
          link: `/docs/${file}#${slug}`,
          text: body.length > MAX_SECTION_UNITS ? `${body.slice(0, MAX_SECTION_UNITS)} …` : body,
        })),
    }),
  });
}
