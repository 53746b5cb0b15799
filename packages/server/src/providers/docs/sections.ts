import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A section of the documentation: what stands under one heading, up to the next. */
export interface DocsSection {
  id: number;
  /** Such as `README.md`. */
  file: string;
  title: string;
  /** The heading as the end of a link names it. */
  slug: string;
  /** Markdown, without the heading. */
  body: string;
}

/** The documents by the name under which they are linked: `/docs/README.md`. */
export const DOCUMENTS: Readonly<Record<string, string>> = {
  'README.md': 'README.md',
  'providers.md': 'docs/providers.md',
  'PROTOCOL.md': 'packages/protocol/PROTOCOL.md',
  'CONTRIBUTING.md': 'CONTRIBUTING.md',
  'CHANGELOG.md': 'CHANGELOG.md',
};

const PACKAGE = fileURLToPath(new URL('../../..', import.meta.url));

/** The file of a document: in the repository where there is one, else the copy in the package. */
export function documentPath(name: string): string | undefined {
  const inRepository = Object.hasOwn(DOCUMENTS, name) ? DOCUMENTS[name] : undefined;
  if (inRepository === undefined) return undefined;
  const repository = join(PACKAGE, '../..');
  const root = existsSync(join(repository, DOCUMENTS['PROTOCOL.md']!)) ? repository : undefined;
  const path = root === undefined ? join(PACKAGE, 'docs', name) : join(root, inRepository);
  return existsSync(path) ? path : undefined;
}

export function readSections(): DocsSection[] {
  const sections: DocsSection[] = [];
  for (const file of Object.keys(DOCUMENTS)) {
    const path = documentPath(file);
    if (path === undefined) continue;
    for (const section of splitSections(withDocsLinks(readFileSync(path, 'utf8')))) {
      sections.push({ id: sections.length, file, ...section });
    }
  }
  return sections;
}

/** Links between the documents, as the page can follow them. */
function withDocsLinks(markdown: string): string {
  return Object.entries(DOCUMENTS).reduce(
    (text, [name, path]) => text.replaceAll(`](${path}`, `](/docs/${name}`),
    markdown,
  );
}

/** What stands before the first heading under the title is left out; headings in fenced code are none. */
export function splitSections(markdown: string): Omit<DocsSection, 'id' | 'file'>[] {
  const sections: { title: string; lines: string[] }[] = [];
  let fenced = false;
  for (const line of markdown.split('\n')) {
    if (line.startsWith('```')) fenced = !fenced;
    const heading = fenced ? null : /^#{2,4} (.+)$/.exec(line);
    if (heading) sections.push({ title: heading[1]!.replaceAll('`', ''), lines: [] });
    else sections.at(-1)?.lines.push(line);
  }
  return sections
    .map(({ title, lines }) => ({ title, slug: slugOf(title), body: lines.join('\n').trim() }))
    .filter(({ body }) => body !== '');
}

/** As GitHub makes them. */
function slugOf(title: string): string {
  return title
    .toLowerCase()
    .replaceAll(/[^\p{Letter}\p{Number}\s_-]/gu, '')
    .replaceAll(/\s/g, '-');
}
