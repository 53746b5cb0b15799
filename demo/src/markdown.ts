import { Lexer, Marked, type Token } from 'marked';
import { highlight } from './highlight.js';
import { patchChildren } from './patch.js';
import { sanitize } from './sanitize.js';
import { completeTableHead, drawableTail } from './tail.js';

/** One Markdown text that grows, drawn into one element. */
export interface MarkdownView {
  /** Draws an unfinished text. A text that does not continue the last one begins again. */
  draw(text: string): void;
  /** Draws the finished text: exactly what `renderMarkdown` makes of it. */
  finish(text: string): void;
}

type Links = Lexer['tokens']['links'];

interface Progress {
  text: string;
  /** Blocks before this offset cannot change any more; they are never parsed again. */
  frozenChars: number;
  frozenNodes: number;
  /** Link definitions of the frozen blocks. */
  links: Links;
}

const beginning: Progress = { text: '', frozenChars: 0, frozenNodes: 0, links: {} };

export function createMarkdownView(container: Element): MarkdownView {
  let progress = beginning;

  return {
    draw(source) {
      const text = unixLines(source);
      if (!text.startsWith(progress.text)) progress = beginning;
      const { frozenChars, frozenNodes } = progress;
      const tail = text.slice(frozenChars);
      const tokens = lex(tail, progress.links);
      const settled = settledTokens(tail, tokens);
      const links = { ...progress.links, ...definitions(settled.tokens) };
      const settledNodes = toNodes(settled.tokens, 'draft');
      const open = tokens.slice(settled.tokens.length);
      const openNodes = drawOpen(tail.slice(settled.chars), open, links);
      patchChildren(container, [...settledNodes, ...openNodes], frozenNodes);
      progress = {
        text,
        frozenChars: frozenChars + settled.chars,
        frozenNodes: frozenNodes + settledNodes.length,
        links,
      };
    },
    finish(text) {
      patchChildren(container, finishedNodes(text));
      progress = beginning;
    },
  };
}

/** A whole text, parsed once. */
export function renderMarkdown(text: string): DocumentFragment {
  const fragment = document.createDocumentFragment();
  fragment.append(...finishedNodes(text));
  return fragment;
}

function finishedNodes(text: string): ChildNode[] {
  return toNodes(lex(unixLines(text), {}), 'finished');
}

/**
 * Every block before the last one, once the last one's first line is complete: until then the line
 * may yet turn out to belong to the block before, as `2` does that becomes `2. second`.
 */
function settledTokens(source: string, tokens: Token[]): { tokens: Token[]; chars: number } {
  const last = tokens.findLastIndex((token) => token.type !== 'space');
  const lastRaw = tokens[last]?.raw ?? '';
  if (!lastRaw.trimStart().includes('\n')) return { tokens: [], chars: 0 };
  const settled = tokens.slice(0, last);
  const raw = settled.map((token) => token.raw).join('');
  // marked adds a newline where it joins two blocks; an offset counted from that would be wrong.
  if (!source.startsWith(raw + lastRaw.trimEnd())) return { tokens: [], chars: 0 };
  return { tokens: settled, chars: raw.length };
}

function drawOpen(source: string, tokens: Token[], links: Links): ChildNode[] {
  const drawable = drawableTail(source);
  const drawn = drawable === source ? tokens : lex(drawable, links);
  const completed = lastBlock(drawn)?.type === 'paragraph' ? completeTableHead(drawable) : drawable;
  return toNodes(completed === drawable ? drawn : lex(completed, links), 'draft');
}

function lastBlock(tokens: Token[]): Token | undefined {
  return tokens.findLast((token) => token.type !== 'space');
}

function definitions(tokens: Token[]): Links {
  const links: Links = {};
  void marked.walkTokens(tokens, (token) => {
    if (token.type === 'def') links[token.tag] ??= { href: token.href, title: token.title };
  });
  return links;
}

function lex(source: string, links: Links): Token[] {
  const lexer = new Lexer(marked.defaults);
  Object.assign(lexer.tokens.links, links);
  return lexer.lex(source);
}

function toNodes(tokens: Token[], stage: 'draft' | 'finished'): ChildNode[] {
  const html = (stage === 'finished' ? finished : marked).parser(tokens);
  const nodes = [...sanitize(html).childNodes];
  // Line ends between blocks would be one node in one parse and two in another.
  return nodes.filter((node) => !(node instanceof Text && node.data.trim() === ''));
}

function unixLines(text: string): string {
  return text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text;
}

function createMarked(stage: 'draft' | 'finished'): Marked {
  return new Marked({
    gfm: true,
    // HTML in an answer is text: structure comes from Markdown alone. `undefined` means "no such token".
    tokenizer: { html: () => undefined, tag: () => undefined },
    renderer: {
      code({ text, lang, raw }) {
        const language = /^[\w+#.-]+/.exec(lang ?? '')?.[0]?.toLowerCase() ?? '';
        const isClosed = stage === 'finished' || endsInFence.test(raw);
        const html = (isClosed && highlight(text, language)) || escapeHtml(text);
        const label = language === '' ? '' : ` data-language="${language}"`;
        return `<pre${label}><code>${html}\n</code></pre>\n`;
      },
      checkbox: ({ checked }) => (checked ? '☑ ' : '☐ '),
    },
  });
}

const endsInFence = /\n[ \t]*(?:`{3,}|~{3,})[ \t]*\n*$/;
const marked = createMarked('draft');
const finished = createMarked('finished');

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
