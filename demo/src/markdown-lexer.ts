import {
  Lexer,
  type MarkedOptions,
  type Token,
  Tokenizer,
  type TokenizerObject,
  type TokensList,
} from 'marked';

export type Links = Lexer['tokens']['links'];

/** A longer paragraph, cell or heading is shown as it was written. No writer makes one. */
const MAX_INLINE_UNITS = 20_000;
/** Emphasis or links inside each other; more are shown as they were written. */
const MAX_INLINE_DEPTH = 30;
/** Quotes and lists inside each other; more are shown as they were written. */
const MAX_BLOCK_DEPTH = 20;
/** Units that may be searched for the ends of emphasis, links and code in one paragraph. */
const MAX_INLINE_WORK = 4_000_000;
/** The same for a whole text, and for its blocks: so many, and so many times its length. */
const MAX_WORK = 10_000_000;
const MAX_WORK_PER_UNIT = 50;

class TooMuchWork extends Error {}

/**
 * Finds the tokens of `source`. A model that repeats itself can write text for which this would take minutes;
 * the part of the text that is too much work becomes plain text.
 *
 * @param links definitions that stand before `source`.
 */
export function lex(source: string, links: Links, options: MarkedOptions): Token[] {
  const lexer = new BoundedLexer(options, MAX_WORK + MAX_WORK_PER_UNIT * source.length);
  Object.assign(lexer.tokens.links, links);
  try {
    return lexer.lex(source);
  } catch (error) {
    if (!(error instanceof TooMuchWork || error instanceof RangeError)) throw error;
    return [plainParagraph(source)];
  }
}

/** A paragraph that shows `source` as it was written. */
export function plainParagraph(source: string): Token {
  return { type: 'paragraph', raw: source, text: source, tokens: [plainText(source)] };
}

function plainText(source: string): Token {
  return { type: 'plain', raw: source, text: source };
}

class BoundedLexer extends Lexer {
  #work: number;
  #inlineWork = 0;
  #inlineDepth = 0;
  blockDepth = 0;

  constructor(options: MarkedOptions, work: number) {
    super(options);
    this.#work = work;
  }

  /** @throws {TooMuchWork} */
  spend(units: number): void {
    this.#work -= units;
    if (this.#inlineDepth > 0) this.#inlineWork -= units;
    if (this.#work < 0 || this.#inlineWork < 0) throw new TooMuchWork();
  }

  override blockTokens(source: string, tokens?: Token[], isClipped?: boolean): Token[];
  override blockTokens(source: string, tokens?: TokensList, isClipped?: boolean): TokensList;
  override blockTokens(
    source: string,
    tokens: Token[] | TokensList = [],
    isClipped?: boolean,
  ): Token[] | TokensList {
    this.blockDepth += 1;
    try {
      this.spend(source.length);
      return super.blockTokens(source, tokens, isClipped);
    } finally {
      this.blockDepth -= 1;
    }
  }

  override inlineTokens(source: string, tokens: Token[] = []): Token[] {
    const isOutermost = this.#inlineDepth === 0;
    if (isOutermost) this.#inlineWork = MAX_INLINE_WORK;
    const before = tokens.length;
    const isTooMuch = source.length > MAX_INLINE_UNITS || this.#inlineDepth >= MAX_INLINE_DEPTH;
    if (isTooMuch) return append(tokens, source);
    this.#inlineDepth += 1;
    try {
      return super.inlineTokens(source, tokens);
    } catch (error) {
      if (!isOutermost || !(error instanceof TooMuchWork)) throw error;
      tokens.length = before;
      return append(tokens, source);
    } finally {
      this.#inlineDepth -= 1;
    }
  }
}

function append(tokens: Token[], source: string): Token[] {
  tokens.push(plainText(source));
  return tokens;
}

/** A method that returns false leaves the token to marked; with undefined there is no such token. */
export const tokenizer: TokenizerObject = {
  // HTML in an answer is text: structure comes from Markdown alone.
  html: () => undefined,
  tag: () => undefined,
  blockquote() {
    return isDeep(this) ? undefined : false;
  },
  list(source) {
    // A line that begins with a year is no list.
    return isDeep(this) || /^ {0,3}\d{4,9}[.)]/.test(source) ? undefined : false;
  },
  table(source) {
    const token = Tokenizer.prototype.table.call(this, source);
    if (token === undefined) return undefined;
    const columns = Math.max(...token.raw.split('\n').slice(2).map(countCells));
    const missing = columns - token.header.length;
    if (!(missing > 0)) return token;
    // GFM drops the cells beyond the last column of the head.
    const wider = Tokenizer.prototype.table.call(this, withColumns(token.raw, missing));
    return wider && { ...wider, raw: token.raw };
  },
  emStrong(source, masked, before = '') {
    const [mark] = /^(?:\*+|_)/.exec(source) ?? [];
    if (mark === undefined) return false;
    spend(this, source);
    if (mark === '_') return false;
    const [, inSource] = /([^*])\**$/.exec(masked.slice(0, -source.length).slice(-8)) ?? [];
    // `2*3*4`, `2**8` and `f(x)*g(x)*h` are no emphasis.
    const left = before === '*' ? (inSource ?? '') : before;
    const right = source.charAt(mark.length);
    return /[\da-z)\]]/i.test(left) && /[\da-z(]/i.test(right) ? undefined : false;
  },
  del(source) {
    if (!source.startsWith('~')) return false;
    spend(this, source);
    // One `~` means "about".
    return source[1] === '~' ? false : undefined;
  },
  link: spendOnBracket,
  reflink: spendOnBracket,
  codespan(source) {
    if (source.startsWith('`')) spend(this, source);
    return false;
  },
  autolink(source) {
    if (source.startsWith('<')) spend(this, source);
    return false;
  },
};

function spendOnBracket(this: Tokenizer, source: string): false {
  if (/^!?\[/.test(source)) spend(this, source);
  return false;
}

function spend({ lexer }: Tokenizer, source: string): void {
  if (lexer instanceof BoundedLexer) lexer.spend(source.length);
}

function isDeep({ lexer }: Tokenizer): boolean {
  return lexer instanceof BoundedLexer && lexer.blockDepth > MAX_BLOCK_DEPTH;
}

/** Also counts a cell that is empty, never one less than there are. */
function countCells(row: string): number {
  const inner = row.trim().replace(/^\|/, '');
  const bars = inner.match(/(?<=(?:^|[^\\])(?:\\\\)*)\|/g)?.length ?? 0;
  return /(?<=(?:^|[^\\])(?:\\\\)*)\|$/.test(inner) ? bars : bars + 1;
}

function withColumns(table: string, count: number): string {
  const [head = '', rule = '', ...rows] = table.split('\n');
  const closed = (line: string): string => (/\|\s*$/.test(line) ? line.trimEnd() : `${line} |`);
  return [closed(head) + ' |'.repeat(count), closed(rule) + ' --- |'.repeat(count), ...rows].join(
    '\n',
  );
}
