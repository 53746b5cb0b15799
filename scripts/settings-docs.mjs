import { readFileSync, writeFileSync } from 'node:fs';
import { register } from 'tsx/esm/api';

// Writes the tables of settings in docs/server-options.md from the code; with `--check`, only compares them.
register();
const { CORE_SETTINGS, HTTP_SETTINGS, REDIS_SETTINGS, SOCKET_SETTINGS } =
  await import('../packages/server/src/settings/settings.ts');

const BEGIN = '<!-- settings: written by `npm run docs:settings` -->';
const END = '<!-- end of settings -->';
const MIB = 1024 * 1024;

const tables = [
  table('Server (`createServer`)', HTTP_SETTINGS),
  table('Several servers (`createServer`, `createLlmService`, `attachRivulet`)', REDIS_SETTINGS),
  table('Connections and streams (`createServer`, `attachRivulet`)', SOCKET_SETTINGS),
  table('Models and answers (`createServer`, `createLlmService`)', CORE_SETTINGS),
];

/** @param {string} title */
function table(title, settings) {
  return [
    `## ${title}`,
    '',
    '| variable | option | default | meaning |',
    '|---|---|---|---|',
    ...Object.entries(settings).map(row),
  ].join('\n');
}

function row([path, { env, type, description, ...setting }]) {
  const meaning = [description, type.range].filter(Boolean).join(' ');
  return `| \`${env}\` | \`${path}\` | ${defaultText(setting, type.unit)} | ${meaning} |`;
}

function defaultText({ default: value, defaultText: words }, unit) {
  if (words !== undefined) return words;
  const inMib = unit === 'bytes' && value % MIB === 0 ? ` (${value / MIB} MiB)` : '';
  return `\`${value}\`${inMib}`;
}

const PAGE = 'docs/server-options.md';
const file = new URL(`../${PAGE}`, import.meta.url);
const page = readFileSync(file, 'utf8');
const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
if (begin < 0 || end < begin) fail(`${PAGE} must contain the lines ${BEGIN} and ${END}`);
const wanted = `${page.slice(0, begin)}${BEGIN}\n\n${tables.join('\n\n')}\n\n${page.slice(end)}`;

if (!process.argv.includes('--check')) writeFileSync(file, wanted);
else if (page !== wanted) {
  fail(`the tables of settings in ${PAGE} differ from the code; run \`npm run docs:settings\``);
}

function fail(problem) {
  console.error(`rivulet: ${problem}`);
  process.exit(1);
}
