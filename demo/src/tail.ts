import remend, { isWithinCodeBlock } from 'remend';

/**
 * The end of an unfinished text, made drawable: what is open is closed, and what cannot be told
 * yet (a lone `**`, a rule that may be a table's) is held back until more has come.
 */
export function drawableTail(tail: string): string {
  const certain = dropUncertainLine(tail);
  if (isWithinCodeBlock(certain, certain.length)) return certain;
  const masked = certain.replace(timesSign, (stars) => MASK.repeat(stars.length));
  const closed = remend(closeCodeSpan(dropUncertainEnd(masked)), {
    linkMode: 'text-only',
    // These options change the text itself, so the block would look different once it is complete.
    htmlTags: false,
    setextHeadings: false,
    comparisonOperators: false,
    singleTilde: false,
    katex: false,
  });
  return closed.replaceAll(MASK, '*');
}

/** The `*` of `2*3` opens nothing that is to be closed. */
const timesSign = /(?<=[\da-z)\]])\*+(?=[\da-z(])/gi;
/** A character that Unicode leaves to applications, and that no model writes. */
const MASK = '\uf8f0';

/**
 * A text that ends in a paragraph whose last line may be the first of a table, with the rule that
 * makes it one: drawn as a table at once, instead of as words with bars between. Else the text.
 */
export function completeTableHead(text: string): string {
  const lines = text.replace(/\n$/, '').split('\n');
  const row = lines.at(-1) ?? '';
  if (!/^ {0,3}\|/.test(row) || /^ *\|/.test(lines.at(-2) ?? '')) return text;
  const cells = row
    .trim()
    .slice(1)
    .split(/(?<!\\)\|/);
  if (cells.at(-1)?.trim() === '') cells.pop();
  return cells.length === 0 ? text : `${lines.join('\n')}\n${'|---'.repeat(cells.length)}|`;
}

/** A text that is longer is no incomplete mark. */
const MAX_MARK_UNITS = 200;
const onlyMarkers = /^[\s>]*(?:[-=|:+*#_~`\s]+|\d{1,9}[.)]?|[-*+] +\[[ xX]?\]?)$/;
const openingFence = /^[\s>]*(?:[-*+] +|\d+[.)] +)?(?:`{3}[^`]*|~{3}.*)$/;
const halfDefinition = /^ {0,3}\[[^\]]*(?:\]:?)?$/;

/** `--` may become a rule, a heading or a table; `1` a list; "```t" the head of a code block. */
function dropUncertainLine(text: string): string {
  const lineStart = text.lastIndexOf('\n') + 1;
  const line = text.slice(lineStart);
  if (line.length > MAX_MARK_UNITS) return text;
  const uncertain = onlyMarkers.test(line) || openingFence.test(line) || halfDefinition.test(line);
  return uncertain ? text.slice(0, lineStart) : text;
}

function dropUncertainEnd(text: string): string {
  return (
    text
      .replace(/&[a-z#0-9]{0,10}$/i, '')
      .replace(/!?\[([^[\]\n]*)\](?:\[[^\]\n]*)?$/, '$1')
      .replace(/!?\[$|!$/, '')
      // Closing marks come back from remend, at their full length.
      .replace(/\\$|(?<![*_~`])[*_~`]+$/, '')
  );
}

/** remend closes emphasis before code, so `**a \`b` would come out with its asterisks in the code. */
function closeCodeSpan(text: string): string {
  const paragraph = text.slice(text.lastIndexOf('\n\n') + 1);
  let open = '';
  for (const [run] of paragraph.matchAll(/(?<!\\)`+/g)) {
    if (open === '') open = run;
    else if (open === run) open = '';
  }
  return text + open;
}
