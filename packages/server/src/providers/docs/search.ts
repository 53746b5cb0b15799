import MiniSearch from 'minisearch';
import type { DocsSection } from './sections.js';

/** The sections that a question is about, the best first. */
export type DocsSearch = (question: string) => DocsSection[];

export function createDocsSearch(sections: readonly DocsSection[]): DocsSearch {
  const index = new MiniSearch<DocsSection>({
    fields: ['title', 'body'],
    processTerm: (term) => (STOP_WORDS.has(term.toLowerCase()) ? null : stem(term.toLowerCase())),
    searchOptions: { boost: { title: 3 }, fuzzy: 0.15, prefix: (term) => term.length > 3 },
  });
  index.addAll(sections);
  const byId = new Map(sections.map((section) => [section.id, section]));
  return (question) =>
    index.search(question).flatMap((found) => byId.get(found['id'] as number) ?? []);
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
