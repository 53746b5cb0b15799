import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { register } from 'tsx/esm/api';
import { ensureInstalled, run } from './install.mjs';

// Builds the site of the documentation into docs/.vitepress/dist: the pages, the API reference, and the pages as
// llms.txt and llms-full.txt.
ensureInstalled();
const docs = new URL('../docs/', import.meta.url);
// The builder has a lock file of its own, so that other commands need not install it.
ensureInstalled(docs);
register();
const { listDocuments, readDocument } =
  await import('../packages/server/src/providers/docs/sections.ts');

const pages = new URL('.vitepress/pages/', docs);
rmSync(pages, { recursive: true, force: true });
mkdirSync(pages, { recursive: true });
// The README is for the repository; index.md says the same.
const names = [...listDocuments().keys()].filter((name) => name !== 'README.md');
const texts = new Map(names.map((name) => [name, readDocument(name)]));
for (const [name, text] of texts) writeFileSync(new URL(name, pages), text);
cpSync(new URL('images/', docs), new URL('images/', pages), { recursive: true });

run('npx', ['vitepress', 'build', '.'], { cwd: docs });
// TypeDoc writes into the folder that VitePress empties, so it runs second.
run('npx', ['typedoc', '--logLevel', 'Warn'], { cwd: docs });

const dist = new URL('.vitepress/dist/', docs);
for (const [name, text] of texts) writeFileSync(new URL(name, dist), text);
writeFileSync(new URL('llms.txt', dist), index());
writeFileSync(new URL('llms-full.txt', dist), [...texts.values()].join('\n\n---\n\n'));
console.log('rivulet: the site is in docs/.vitepress/dist');

/** The index that https://llmstxt.org describes. */
function index() {
  const [, summary] = /## What is Rivulet\?\n\n(.+)/.exec(texts.get('index.md'));
  const links = [...texts].map(([name, text]) => {
    const [, title] = /^# (.+)$/m.exec(text);
    return `- [${title}](${name})`;
  });
  return `# Rivulet\n\n> ${summary}\n\n## Documentation\n\n${links.join('\n')}\n- [API reference](api/index.html)\n`;
}
