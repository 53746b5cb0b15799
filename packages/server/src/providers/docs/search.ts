import MiniSearch, { type SearchResult } from 'minisearch';
import type { DocsSection } from './sections.js';

/** @returns the matching sections, best first; empty if the documentation does not cover the question. */
export type DocsSearch = (question: string) => DocsSection[];

/**
 * The lowest share of a question that a section has to cover. A rare word counts for more than a frequent
 * one.
 */
const MIN_COVERAGE = 0.6;

/** Each word costs a search of the index, so only the beginning of a long question is used. */
const MAX_QUESTION_UNITS = 500;

/** The documents for implementers rank lower, because most questions are those of users. */
const FOR_IMPLEMENTERS = new Set(['PROTOCOL.md', 'CONTRIBUTING.md']);

export function createDocsSearch(sections: readonly DocsSection[]): DocsSearch {
  const byId = new Map(sections.map((section) => [String(section.id), section]));
  const index = new MiniSearch<DocsSection>({
    fields: ['title', 'page', 'defined', 'code', 'body'],
    // Code examples are left out, because they contain questions about other subjects.
    extractField: (section, field) => {
      if (field === 'body') return withoutCode(section.body);
      if (field === 'defined') return matchesIn(section.body, DEFINED);
      if (field === 'code') return matchesIn(section.body, INLINE_CODE);
      return String(section[field as keyof DocsSection]);
    },
    processTerm: termOf,
    searchOptions: {
      boost: { title: 4, page: 2, defined: 3 },
      fuzzy: (term) => (term.length > 5 ? 1 : false),
      prefix: (term) => term.length > 3,
      boostDocument: (id) => (FOR_IMPLEMENTERS.has(byId.get(id as string)?.file ?? '') ? 0.5 : 1),
    },
  });
  index.addAll(sections);

  return (asked) => {
    const question = asked.slice(0, MAX_QUESTION_UNITS);
    const results = index.search(question);
    const weights = weightsOf(question, results);
    return results
      .filter((result) => isAbout(result, weights))
      .flatMap(({ id, score }) => {
        const section = byId.get(id as string);
        return section === undefined ? [] : { section, score: score * fit(section, weights) };
      })
      .sort((a, b) => b.score - a.score)
      .map(({ section }) => section);
  };

  /** @returns the words that describe the subject of a question, each with its weight from 0 to 1. */
  function weightsOf(question: string, results: readonly SearchResult[]): Map<string, number> {
    return new Map(
      termsOf(question).map((term) => {
        const found = results.filter(({ queryTerms }) => queryTerms.includes(term)).length;
        return [term, 1 - Math.log(1 + found) / Math.log(2 + sections.length)];
      }),
    );
  }
}

/** A word in the text is not enough: the heading, the page or a name in the text has to contain one, too. */
function isAbout({ queryTerms, match }: SearchResult, weights: Map<string, number>): boolean {
  let covered = 0;
  let whole = 0;
  for (const [term, weight] of weights) {
    whole += weight;
    if (queryTerms.includes(term)) covered += weight;
  }
  const isHeading = Object.values(match).some((fields) => fields.some((field) => field !== 'body'));
  return isHeading && covered >= MIN_COVERAGE * whole;
}

/** @returns a factor from 1 to 2. A heading whose words are all in the question ranks higher. */
function fit({ title }: DocsSection, weights: Map<string, number>): number {
  const terms = termsOf(title);
  return 1 + terms.filter((term) => weights.has(term)).length / Math.max(1, terms.length);
}

/** @returns each word that describes the subject of the text, once. */
function termsOf(text: string): string[] {
  const words = text.split(/[\s\p{P}]+/u).flatMap((word) => termOf(word) ?? []);
  return [...new Set(words)];
}

/** @returns null for a stop word. */
function termOf(word: string): string | null {
  const lower = word.toLowerCase();
  return lower === '' || STOP_WORDS.has(lower) ? null : stem(lower);
}

/** Bold words, and the first column of tables. */
const DEFINED = /\*\*([^*\n]+)\*\*|^\| ([^|\n]+) \|/gm;
const INLINE_CODE = /`([^`\n]+)`/g;

function matchesIn(markdown: string, pattern: RegExp): string {
  const found = withoutCode(markdown).matchAll(pattern);
  return Array.from(found, ([, ...groups]) => groups.find(Boolean)).join(' ');
}

function withoutCode(markdown: string): string {
  return markdown.replaceAll(/^```.*?^```/gms, '').replaceAll(/\]\([^)]*\)/g, '');
}

/** Reduces an English word to its stem: "caches" and "caching" find "cache". Keeps at least three letters. */
function stem(term: string): string {
  return term.replace(/(?<=\w{3})(ing|ed|es|s|e)$/, '');
}

const STOP_WORDS = new Set(
  (
    'a about add an and any are as at be by can change could data did do does down each example for from get give ' +
    'had happen happens has have hello hi how i if in into is it its like me mean means my need of on or our please run set ' +
    'should show so support tell than that the their them then there these they this time to up us use used using ' +
    'want was we what when where which who why will with work would write you your'
  ).split(' '),
);
