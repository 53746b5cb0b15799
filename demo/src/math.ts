import type { TokenizerAndRendererExtension } from 'marked';
import { lazy } from './lazy.js';

const katex = lazy(() => import('./katex.js'));

const MAX_CACHED = 200;
const cache = new Map<string, Node>();

/**
 * A formula of at most 2,000 units, without an empty line: `$$…$$`, `\[…\]`, `\(…\)` or `$…$`. A single `$`
 * touches its formula on both sides, and no digit or word follows it: `$5 and $6` are prices.
 */
const DISPLAY = String.raw`\$\$(?!\$)(?:(?!\n[ \t]*\n)[^$\\]|\\[^]){1,2000}?\$\$|\\\[(?:(?!\n[ \t]*\n|\\\])[^]){1,2000}?\\\]`;
const INLINE = String.raw`\\\((?:(?!\n[ \t]*\n|\\\))[^]){1,2000}?\\\)|\$(?![\s$])(?:[^$\\\n${'`'}]|\\[^\n]){1,500}?(?<!\s)\$(?!\d|\$|(?!(?:st|nd|rd|th|s)\b)[a-z])`;
const formula = new RegExp(`^(?:${DISPLAY}|${INLINE})`, 'i');
const formulas = new RegExp(`${DISPLAY}|(?<![\\w$])(?:${INLINE})`, 'gi');
const displayBlock = new RegExp(String.raw`^ {0,3}(${DISPLAY})[ \t]*(?:\n|$)`);
const openDisplay = /^ {0,3}(?:\$\$|\\\[)(?:(?!\n[ \t]*\n)[^]){0,2000}$/;
const word = /(?:^|[\s,.;:])[a-z]{3,}(?=[\s,.;:]|$)/i;

/** @param stage a draft shows a formula that is not closed yet as its source, without its Markdown. */
export function mathExtensions(stage: 'draft' | 'finished'): TokenizerAndRendererExtension[] {
  return [
    {
      name: 'mathBlock',
      level: 'block',
      tokenizer(src) {
        const [raw, source] = displayBlock.exec(src) ?? [];
        if (raw !== undefined) return { type: 'mathBlock', raw, source };
        const [open] = (stage === 'draft' && openDisplay.exec(src)) || [];
        return open === undefined
          ? undefined
          : { type: 'mathBlock', raw: open, source: open, open: true };
      },
      renderer: ({ source, open }) =>
        open === true
          ? `<p>${escapeHtml(String(source))}</p>\n`
          : `<p>${placeholder(String(source))}</p>\n`,
    },
    {
      name: 'math',
      level: 'inline',
      start(src) {
        const places = [src.indexOf('$'), src.indexOf('\\')].filter((place) => place >= 0);
        return places.length === 0 ? undefined : Math.min(...places);
      },
      tokenizer(src, tokens) {
        if (src[0] !== '$' && !/^\\[([]/.test(src)) return undefined;
        const [source] = formula.exec(src) ?? [];
        if (source === undefined) return undefined;
        const before = tokens.at(-1)?.raw.at(-1) ?? '';
        if (isSingleDollar(source) && (/[\w$]/.test(before) || !isFormula(source)))
          return undefined;
        return { type: 'math', raw: source };
      },
      renderer: ({ raw }) => placeholder(raw),
    },
  ];
}

/** Hides formulas from the search for emphasis: the `*` of `$a * b$` is none. */
export function maskFormulas(source: string): string {
  if (!source.includes('$') && !source.includes('\\')) return source;
  return source.replace(formulas, (found) =>
    isSingleDollar(found) && !isFormula(found) ? found : 'a'.repeat(found.length),
  );
}

/**
 * Sets the formulas below `root`, whose text is their source. One that KaTeX does not understand stays as it
 * is; so do all until KaTeX is loaded.
 */
export function typeset(root: ParentNode): void {
  for (const element of root.querySelectorAll('.math')) {
    const loaded = katex.get();
    if (loaded === undefined) return;
    const source = element.textContent ?? '';
    let drawn = cache.get(source);
    if (drawn === undefined) {
      drawn = loaded.drawFormula(...unwrap(source)) ?? document.createTextNode(source);
      if (cache.size >= MAX_CACHED) cache.clear();
      cache.set(source, drawn);
    }
    element.replaceChildren(drawn.cloneNode(true));
  }
}

function placeholder(source: string): string {
  return `<span class="math">${escapeHtml(source)}</span>`;
}

function isSingleDollar(source: string): boolean {
  return source.startsWith('$') && !source.startsWith('$$');
}

function isFormula(source: string): boolean {
  return source.includes('\\') || !word.test(source.slice(1, -1));
}

function unwrap(source: string): [tex: string, isDisplay: boolean] {
  const length = isSingleDollar(source) ? 1 : 2;
  const isDisplay = source.startsWith('$$') || source.startsWith('\\[');
  return [source.slice(length, -length).trim(), isDisplay];
}

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
