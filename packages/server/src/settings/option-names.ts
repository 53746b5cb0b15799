import type { Setting } from './settings.js';

/** The function that receives the options. */
export interface Caller {
  name: string;
  /** The options that are not settings, such as `logger`. */
  otherOptions: readonly string[];
}

/** @returns a line for each option that is unknown, or is a value in place of a group. */
export function optionProblems(
  options: object,
  rows: readonly (readonly [path: string, setting: Setting<unknown>])[],
  caller: Caller,
): string[] {
  const groups = groupsOf(rows.map(([path]) => path));
  const names = [...groups.keys(), ...caller.otherOptions];
  const unknown = (name: string, known: readonly string[]): string =>
    `${name} is not an option of ${caller.name}; ${suggestion(name, rows, names) ?? `the options are ${known.join(', ')}`}`;

  const problems: string[] = [];
  for (const [name, value] of Object.entries(options)) {
    const fields = groups.get(name);
    if (!names.includes(name)) problems.push(unknown(name, names));
    else if (fields !== undefined && fields.length > 0 && value !== undefined) {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) {
        // The value is not shown, because it may be a key.
        problems.push(`${name} must be an object with the fields ${fields.join(', ')}`);
        continue;
      }
      const known = fields.map((field) => `${name}.${field}`);
      for (const field of Object.keys(value)) {
        if (!fields.includes(field)) problems.push(unknown(`${name}.${field}`, known));
      }
    }
  }
  return problems;
}

/** The shortest name of a variable that is compared. A short one may be similar by chance. */
const MIN_COMPARED_CHARACTERS = 8;
const MAX_MISSPELT_DISTANCE = 2;

/** Names of other programs' variables that are similar to a setting. */
const OTHER_VARIABLES: ReadonlySet<string> = new Set(['LLM_MODEL', 'OLLAMA_MODELS', 'OLLAMA_PORT']);

/** Words that mean the same in a name. */
const SYNONYMS: Readonly<Record<string, string>> = {
  URI: 'URL',
  HOST: 'URL',
  ADDRESS: 'URL',
  ENDPOINT: 'URL',
  PATH: 'FILE',
};
/** A variable with these words of a setting, and more, may be another program's. */
const MIN_CONTAINED_WORDS = 3;

/**
 * Finds variables that are probably misspelt names of settings that are not set. Both begin with the same word
 * up to `_`, and differ in at most two characters, or one has all words of the other, such as `GEMINI_KEY`. Or
 * they differ only in underscores, the plural and words with the same meaning, such as `LOGLEVEL`.
 *
 * @returns the name of each such variable, and that of the setting.
 */
export function misspeltVariables(
  env: Readonly<Record<string, string | undefined>>,
  settings: readonly Setting<unknown>[],
): { variable: string; setting: string }[] {
  const namesOf = ({ env: name, fileEnv }: Setting<unknown>): string[] =>
    fileEnv ? [name, fileEnv] : [name];
  const known = new Set(settings.flatMap(namesOf));
  const isUnset = (setting: Setting<unknown>): boolean =>
    namesOf(setting).every((name) => env[name] === undefined);
  const unset = settings.filter(isUnset).flatMap(namesOf);
  return Object.keys(env).flatMap((variable) => {
    if (variable.length < MIN_COMPARED_CHARACTERS) return [];
    if (known.has(variable) || OTHER_VARIABLES.has(variable)) return [];
    const setting = TESTS.map((isSimilar) => unset.find((name) => isSimilar(variable, name))).find(
      (found) => found !== undefined,
    );
    return setting === undefined ? [] : [{ variable, setting }];
  });
}

/** The surest first. */
const TESTS: readonly ((variable: string, name: string) => boolean)[] = [
  (variable, name) => wordsOf(variable).join('') === wordsOf(name).join(''),
  (variable, name) =>
    wordsOf(variable)[0] === wordsOf(name)[0] && distance(variable, name) <= MAX_MISSPELT_DISTANCE,
  (variable, name) => {
    const [words, wanted] = [wordsOf(variable), wordsOf(name)];
    if (words[0] !== wanted[0] || words.length < 2) return false;
    const isContained = wanted.length >= MIN_CONTAINED_WORDS && isPart(wanted, words);
    return isContained || isPart(words, wanted);
  },
];

/** @returns the words of a name in the singular, and one word for those with the same meaning. */
function wordsOf(name: string): string[] {
  return name
    .toUpperCase()
    .split('_')
    .map((word) => word.replace(/IES$/, 'Y').replace(/S$/, ''))
    .map((word) => SYNONYMS[word] ?? word);
}

/** @returns true if `words` are in `others`, in the same order. */
function isPart(words: readonly string[], others: readonly string[]): boolean {
  let next = 0;
  for (const word of others) if (word === words[next]) next += 1;
  return next === words.length;
}

/** @returns the fields of each group, such as `gemini`; none for a setting outside of a group. */
function groupsOf(paths: readonly string[]): Map<string, string[]> {
  const groups = new Map<string, string[]>();
  for (const path of paths) {
    const [name, field] = path.split('.') as [string, string | undefined];
    const fields = groups.get(name) ?? [];
    groups.set(name, field === undefined ? fields : [...fields, field]);
  }
  return groups;
}

/** @returns the options whose name, or whose variable's name, is most similar to an unknown one. */
function suggestion(
  unknown: string,
  rows: readonly (readonly [path: string, setting: Setting<unknown>])[],
  names: readonly string[],
): string | undefined {
  const word = lastName(unknown);
  const candidates = [
    ...rows.flatMap(([path, { env }]) => [
      { path, name: lastName(path) },
      { path, name: env },
    ]),
    ...names.map((name) => ({ path: name, name })),
  ].map(({ path, name }) => ({ path, distance: distance(word, name) }));
  const least = Math.min(...candidates.map((candidate) => candidate.distance));
  if (least > Math.max(2, word.length / 3)) return undefined;
  const nearest = candidates.filter((candidate) => candidate.distance === least);
  const inGroup = nearest.filter(({ path }) => groupOf(path) === groupOf(unknown));
  const paths = (inGroup.length > 0 ? inGroup : nearest).map(({ path }) => path);
  return `did you mean ${[...new Set(paths)].join(' or ')}?`;
}

function lastName(path: string): string {
  return path.slice(path.indexOf('.') + 1);
}

function groupOf(path: string): string {
  return path.slice(0, Math.max(0, path.indexOf('.')));
}

/** @returns the Levenshtein distance, ignoring case. */
function distance(first: string, second: string): number {
  const [a, b] = [first.toLowerCase(), second.toLowerCase()];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(previous[j]! + 1, row[j - 1]! + 1, substitution));
    }
    previous = row;
  }
  return previous[b.length]!;
}
