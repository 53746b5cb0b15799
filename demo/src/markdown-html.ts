import { Marked, type Token, type Tokens } from 'marked';
import { highlight } from './highlight.js';
import { lex, type Links, plainParagraph, tokenizer } from './markdown-lexer.js';
import { escapeHtml, maskFormulas, mathExtensions } from './math.js';

/** A draft still grows; what a finished text shows is final. */
export type Stage = 'draft' | 'finished';

const stages = { draft: createMarked('draft'), finished: createMarked('finished') };

/** @param links definitions that stand before `source`. */
export function tokensOf(source: string, stage: Stage, links: Links = {}): Token[] {
  const tokens = lex(source, links, stages[stage].defaults);
  if (stage === 'finished') showUnusedDefinitions(tokens);
  return tokens;
}

export function htmlOf(tokens: Token[], stage: Stage): string {
  return stages[stage].parser(tokens);
}

/** The link definitions among `tokens`. */
export function definitions(tokens: Token[]): Links {
  const links: Links = {};
  void stages.draft.walkTokens(tokens, (token) => {
    if (token.type === 'def') links[token.tag] ??= { href: token.href, title: token.title };
  });
  return links;
}

/** `[TODO]: later` defines a link. A definition that nothing refers to is shown as text. */
function showUnusedDefinitions(tokens: Token[]): void {
  const used = new Set<string>();
  void stages.draft.walkTokens(tokens, ({ type, raw }) => {
    if (type !== 'link' && type !== 'image') return;
    const [, text, label] = /^!?\[([^]*?)\](?:\[([^\]]*)\])?$/.exec(raw) ?? [];
    if (text !== undefined) used.add(normalize(label || text));
  });
  void stages.draft.walkTokens(tokens, (token) => {
    if (token.type !== 'def') return;
    if (used.has(token.tag)) used.delete(token.tag);
    else Object.assign(token, plainParagraph(token.raw.trim()));
  });
}

/** Forms the tag of a definition as marked does. */
function normalize(label: string): string {
  return label.trim().replace(/\s+/g, ' ').toLowerCase().toUpperCase().toLowerCase();
}

function createMarked(stage: Stage): Marked {
  let isInLink = false;

  /** An anchor around `html`, without one inside another. A link without text shows its target. */
  function anchor(href: string, title: string | null | undefined, content: () => string): string {
    const isInside = isInLink;
    isInLink = true;
    const html = content() || escapeHtml(href);
    isInLink = isInside;
    const note = title ? ` (${escapeHtml(title)})` : '';
    return (isInside ? html : `<a href="${escapeHtml(href)}">${html}</a>`) + note;
  }

  return new Marked({
    gfm: true,
    tokenizer,
    hooks: { emStrongMask: maskFormulas },
    extensions: [
      ...mathExtensions(stage),
      { name: 'plain', renderer: ({ text }) => escapeHtml(String(text)) },
    ],
    renderer: {
      code({ text, lang, raw }) {
        const language = /^[\w+#.-]+/.exec(lang ?? '')?.[0]?.toLowerCase() ?? '';
        const isClosed = stage === 'finished' || endsInFence.test(raw);
        const html = highlight(text, language, isClosed) ?? escapeHtml(text);
        const label = language === '' ? '' : ` data-language="${language}"`;
        return `<div class="code"${label}><pre tabindex="0"><code>${html}\n</code></pre></div>\n`;
      },
      link({ href, title, tokens }) {
        return anchor(href, title, () => this.parser.parseInline(tokens));
      },
      // A picture elsewhere would tell its owner who reads this.
      image({ href, title, tokens }) {
        return anchor(href, title, () => this.parser.parseInline(tokens));
      },
      list({ ordered, items }) {
        if (!ordered) return `<ul>\n${items.map((item) => this.listitem(item)).join('')}</ul>\n`;
        const numbers = items.map(({ raw }) => Number(/^\s*(\d+)/.exec(raw)?.[1]));
        // `1. 1. 1.` leaves the numbers to the page.
        const areSame = numbers.every((number) => number === numbers[0]);
        const rows = items.map((item, i) => {
          const isNext = areSame || i === 0 || numbers[i] === numbers[i - 1]! + 1;
          const html = this.listitem(item);
          return isNext ? html : html.replace('<li', `<li value="${numbers[i]}"`);
        });
        const start = numbers[0] === 1 ? '' : ` start="${numbers[0]}"`;
        return `<ol${start}>\n${rows.join('')}</ol>\n`;
      },
      listitem({ task, tokens }) {
        return `<li${task ? ' class="task"' : ''}>${this.parser.parse(tokens)}</li>\n`;
      },
      checkbox: ({ checked }: Tokens.Checkbox) => (checked ? '☑ ' : '☐ '),
      table(token) {
        const html = this.constructor.prototype.table.call(this, token);
        return `<div class="table" tabindex="0">${html}</div>\n`;
      },
    },
  });
}

const endsInFence = /\n[ \t]*(?:`{3,}|~{3,})[ \t]*\n*$/;
