import type { Token } from 'marked';
import { createCopyButton } from './copy-code.js';
import { whenLoaded } from './lazy.js';
import { definitions, htmlOf, type Stage, tokensOf } from './markdown-html.js';
import type { Links } from './markdown-lexer.js';
import { typeset } from './math.js';
import { patchChildren } from './patch.js';
import { sanitize } from './sanitize.js';
import { completeTableHead, drawableTail } from './tail.js';

/** One Markdown text that grows, drawn into one element. */
export interface MarkdownView {
  /**
   * Draws an unfinished text. A text that does not continue the last one begins again. A text that takes long to
   * draw is drawn a little later, in its newest state.
   */
  draw(text: string): void;
  /** Draws the finished text: exactly what `renderMarkdown` makes of it. */
  finish(text: string): void;
}

interface Progress {
  text: string;
  /** Blocks before this offset cannot change any more; they are never parsed again. */
  frozenChars: number;
  frozenNodes: number;
  /** Link definitions of the frozen blocks. */
  links: Links;
}

const INITIAL_PROGRESS: Progress = { text: '', frozenChars: 0, frozenNodes: 0, links: {} };

/** The end of a longer open block is drawn as it is, and not made drawable with each frame. */
const MAX_OPEN_UNITS = 20_000;
/** After a draw of such a block that took longer, the page has three times as long for other work. */
const SLOW_DRAW_MS = 50;

export function createMarkdownView(container: Element): MarkdownView {
  let progress = INITIAL_PROGRESS;
  let newest: { text: string; stage: Stage } = { text: '', stage: 'draft' };
  let drawLater: number | undefined;
  let drawAgainAt = 0;
  let pendingLoads: Promise<unknown> | undefined;

  function drawNewest(): void {
    clearTimeout(drawLater);
    drawLater = undefined;
    const began = performance.now();
    if (newest.stage === 'draft') drawDraft(unixLines(newest.text));
    else drawFinished();
    const tookMs = performance.now() - began;
    const isLong = newest.text.length - progress.frozenChars > MAX_OPEN_UNITS;
    drawAgainAt = isLong && tookMs > SLOW_DRAW_MS ? began + 4 * tookMs : 0;
    if (pendingLoads === undefined) void drawOnceLoaded();
  }

  function drawDraft(text: string): void {
    if (!text.startsWith(progress.text)) progress = INITIAL_PROGRESS;
    const { frozenChars, frozenNodes } = progress;
    const tail = text.slice(frozenChars);
    const tokens = tokensOf(tail, 'draft', progress.links);
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
  }

  function drawFinished(): void {
    patchChildren(container, finishedNodes(newest.text));
    progress = INITIAL_PROGRESS;
  }

  /** Draws again when the formulas and colors that are being loaded are there. */
  async function drawOnceLoaded(): Promise<void> {
    pendingLoads = whenLoaded();
    if (pendingLoads === undefined) return;
    await pendingLoads;
    pendingLoads = undefined;
    progress = INITIAL_PROGRESS;
    drawNewest();
  }

  return {
    draw(text) {
      newest = { text, stage: 'draft' };
      const waitMs = drawAgainAt - performance.now();
      if (waitMs <= 0) drawNewest();
      else drawLater ??= window.setTimeout(drawNewest, waitMs);
    },
    finish(text) {
      newest = { text, stage: 'finished' };
      drawNewest();
    },
  };
}

/** A whole text, parsed once. Its formulas and colors may come later. */
export function renderMarkdown(text: string): DocumentFragment {
  const fragment = document.createDocumentFragment();
  fragment.append(...finishedNodes(text));
  void drawAgainOnceLoaded(text, [...fragment.querySelectorAll(LAZY_ELEMENTS)]);
  return fragment;
}

async function drawAgainOnceLoaded(text: string, drawn: Element[]): Promise<void> {
  const loading = whenLoaded();
  if (loading === undefined) return;
  await loading;
  const again = document.createElement('div');
  again.append(...finishedNodes(text));
  const complete = [...again.querySelectorAll(LAZY_ELEMENTS)];
  drawn.forEach((element, i) => element.replaceWith(complete[i] ?? element));
}

/** Elements that are drawn with code that is loaded when it is needed. */
const LAZY_ELEMENTS = '.code, .math';

function finishedNodes(text: string): ChildNode[] {
  return toNodes(tokensOf(unixLines(text), 'finished'), 'finished');
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
  const isFormula = lastBlock(tokens)?.type === 'mathBlock';
  if (isFormula || source.length > MAX_OPEN_UNITS) return toNodes(tokens, 'draft');
  const drawable = drawableTail(source);
  const drawn = drawable === source ? tokens : tokensOf(drawable, 'draft', links);
  const completed = lastBlock(drawn)?.type === 'paragraph' ? completeTableHead(drawable) : drawable;
  return toNodes(completed === drawable ? drawn : tokensOf(completed, 'draft', links), 'draft');
}

function lastBlock(tokens: Token[]): Token | undefined {
  return tokens.findLast((token) => token.type !== 'space');
}

function toNodes(tokens: Token[], stage: Stage): ChildNode[] {
  const fragment = sanitize(htmlOf(tokens, stage));
  typeset(fragment);
  for (const code of fragment.querySelectorAll('.code')) {
    code.append(createCopyButton());
  }
  // Line ends between blocks would be one node in one parse and two in another.
  return [...fragment.childNodes].filter(
    (node) => !(node instanceof Text && node.data.trim() === ''),
  );
}

function unixLines(text: string): string {
  return text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text;
}
