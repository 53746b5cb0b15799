import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

// Fails if a comment begins with a question word: its first word has to name the subject.
const QUESTION_WORDS = 'Who|Whoever|Whom|Whose|What|Whatever|That|How|Whether|Where|Wherever|Why';
const BEGINNING = new RegExp(
  String.raw`^\s*(?:/\*\*?|//|\*(?: @\w+(?: \{\w+\})?)?) (?:${QUESTION_WORDS})\b`,
);
const ROOT = new URL('../', import.meta.url);

const files = execFileSync('git', ['ls-files', 'packages', 'demo', 'scripts', 'test'], {
  cwd: ROOT,
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => /\.(?:ts|tsx|js|mjs)$/.test(file))
  .filter((file) => existsSync(new URL(file, ROOT)));

for (const file of files) {
  const lines = readFileSync(new URL(file, ROOT), 'utf8').split('\n');
  lines.forEach((line, i) => {
    if (!BEGINNING.test(line) || continues(line, lines[i - 1])) return;
    console.error(`${file}:${i + 1}: name the subject of the comment: ${line.trim()}`);
    process.exitCode = 1;
  });
}

/** @returns true if the line is a later line of a paragraph. */
function continues(line, previous = '') {
  if (line.includes('* @')) return false;
  const marker = /^\s*(\/\/|\*)/.exec(line)?.[1];
  return marker !== undefined && previous.trimStart().startsWith(`${marker} `);
}
