const MOST_WORDS = 45;
const BARE_SUBJECT = /^(Who|What|That|Whether|Whoever|Whatever)\b/;
const WORDS_FOR_A_READER = /\b(simply|obviously|of course|just|basically|easily)\b/i;

/**
 * Prose names its subjects: a sentence does not begin with "who", "what", "that" or "whether" unless it is a
 * question, has at most 45 words, and has no word that tells the reader how easy something is.
 */
export default function plainSentences({ Syntax, RuleError, report, getSource }) {
  function check(node) {
    const text = getSource(node)
      .replaceAll(/`[^`]*`/g, 'code')
      .replaceAll(/\]\([^)]*\)/g, ']');
    for (const sentence of text.split(/(?<=[.!?:])\s+/)) {
      const problem = problemOf(sentence.replace(/^[*_[\s]+/, ''));
      if (problem !== undefined) report(node, new RuleError(`${problem}: ${sentence}`));
    }
  }
  return { [Syntax.Paragraph]: check, [Syntax.TableCell]: check };
}

function problemOf(sentence) {
  const words = sentence.split(/\s+/).length;
  if (words > MOST_WORDS) return `a sentence has ${words} words; ${MOST_WORDS} are enough`;
  if (BARE_SUBJECT.test(sentence) && !sentence.trim().endsWith('?')) return 'name the subject';
  const [word] = WORDS_FOR_A_READER.exec(sentence) ?? [];
  if (word !== undefined) return `leave out "${word}"`;
  return undefined;
}
