import MiniSearch from 'minisearch';
import type { DocsSection } from './sections.js';

export interface DocsSearch {
  /** @returns the sections that fit a question, the best first. */
  find(question: string): DocsSection[];
  /** @returns true if a section has all words of the question, or most of them and one in its title. */
  covers(question: string): boolean;
}

const MIN_SCORE = 15;
const MIN_SHARE = 3 / 4;

export function createDocsSearch(sections: readonly DocsSection[]): DocsSearch {
  const index = new MiniSearch<DocsSection>({
    fields: ['title', 'body'],
    processTerm,
    searchOptions: { boost: { title: 3 }, fuzzy: 0.15, prefix: (term) => term.length > 3 },
  });
  index.addAll(sections);
  const byId = new Map(sections.map((section) => [section.id, section]));
  return {
    find: (question) =>
      index.search(question).flatMap((found) => byId.get(found['id'] as number) ?? []),
    covers(question) {
      const [best] = index.search(question);
      if (best === undefined || best.score < MIN_SCORE) return false;
      const words = new Set(
        question
          .toLowerCase()
          .match(/[\p{L}\p{N}_]+/gu)
          ?.filter(processTerm),
      );
      const share = best.queryTerms.length / words.size;
      const isInTitle = Object.values(best.match).some((fields) => fields.includes('title'));
      return share >= 1 || (share >= MIN_SHARE && isInTitle);
    },
  };
}

function processTerm(term: string): string | null {
  const lower = term.toLowerCase();
  return STOP_WORDS.has(lower) ? null : stem(lower);
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
