import remend, { isWithinCodeBlock } from 'remend';

/**
 * The end of an unfinished text, made drawable: what is open is closed, and what cannot be told
 * yet (a lone `**`, half a table's rule) is held back until more has come. `endsInParagraph` says
 * that the last block reads as a paragraph so far, as the head of a table does until its rule.
 */
export function drawableTail(tail: string, endsInParagraph: boolean): string {
  const certain = dropUncertainLine(tail);
  if (isWithinCodeBlock(certain, certain.length)) return certain;
  const mended = remend(closeCodeSpan(dropUncertainEnd(certain)), {
    linkMode: 'text-only',
    // These change the text itself, so the block would look different once it is complete.
    setextHeadings: false,
    comparisonOperators: false,
    singleTilde: false,
    katex: false,
  });
  return endsInParagraph ? completeTableHead(mended) : mended;
}

const onlyMarkers = /^[\s>]*(?:[-=|:+*#_~`\s]+|\d{1,9}[.)]?|[-*+] +\[[ xX]?\]?)$/;
const openingFence = /^[\s>]*(?:[-*+] +|\d+[.)] +)?(?:`{3}[^`]*|~{3}.*)$/;
const halfDefinition = /^ {0,3}\[[^\]]*(?:\]:?)?$/;

/** `--` may become a rule, a heading or a table; `1` a list; "```t" the head of a code block. */
function dropUncertainLine(text: string): string {
  const lineStart = text.lastIndexOf('\n') + 1;
  const line = text.slice(lineStart);
  const uncertain = onlyMarkers.test(line) || openingFence.test(line) || halfDefinition.test(line);
  return uncertain ? text.slice(0, lineStart) : text;
}

function dropUncertainEnd(text: string): string {
  return text
    .replace(/&[a-z#0-9]{0,10}$/i, '')
    .replace(/!?\[([^[\]\n]*)\](?:\[[^\]\n]*)?$/, '$1')
    .replace(/(^|[\s([{"'“|])(?:[*_~`]+|!?\[|!)$/, '$1');
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

/** The first row of a table is drawn as one at once, instead of as text with bars in it. */
function completeTableHead(text: string): string {
  const trimmed = text.trimEnd();
  const row = trimmed.slice(trimmed.lastIndexOf('\n') + 1).trim();
  if (!row.startsWith('|')) return text;
  const cells = row.slice(1).split(/(?<!\\)\|/);
  if (cells.at(-1)?.trim() === '') cells.pop();
  return cells.length === 0 ? text : `${trimmed}\n${'|---'.repeat(cells.length)}|`;
}
