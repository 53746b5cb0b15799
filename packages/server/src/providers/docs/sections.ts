import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A section of the documentation: the text under one heading, up to the next heading. */
export interface DocsSection {
  id: number;
  /** The name of the document, such as `client.md`. */
  file: string;
  /** The title of the document. */
  page: string;
  title: string;
  /** The anchor of the heading in a link. */
  slug: string;
  /** Markdown, without the heading. */
  body: string;
}

/** The documents outside of `docs/`, by name. */
const OTHER_DOCUMENTS: readonly (readonly [name: string, path: string])[] = [
  ['PROTOCOL.md', 'packages/protocol/PROTOCOL.md'],
  ['CONTRIBUTING.md', 'CONTRIBUTING.md'],
  // Named differently from the page security.md, because some file systems ignore case.
  ['SECURITY-POLICY.md', 'SECURITY.md'],
  ['README.md', 'README.md'],
  ['CHANGELOG.md', 'CHANGELOG.md'],
];

/** Not searched, because they repeat other documents. */
const NOT_SEARCHED = new Set(['README.md', 'CHANGELOG.md']);

const PACKAGE = fileURLToPath(new URL('../../..', import.meta.url));
const REPOSITORY = join(PACKAGE, '../..');
/** False in a published package, which has copies of the documents in its folder `docs/`. */
const isInRepository = existsSync(join(REPOSITORY, 'packages/protocol/PROTOCOL.md'));

/** @returns the path of each document by its name, relative to the repository, or to the package. */
export function listDocuments(): ReadonlyMap<string, string> {
  const root = isInRepository ? REPOSITORY : PACKAGE;
  const pages = markdownFiles(join(root, 'docs')).map((name) => [name, `docs/${name}`] as const);
  return new Map(isInRepository ? [...pages, ...OTHER_DOCUMENTS] : pages);
}

function markdownFiles(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith('.md'))
    .sort();
}

/**
 * @returns the Markdown of a document, with links to other documents replaced by their names; undefined if
 * there is no such document.
 */
export function readDocument(name: string): string | undefined {
  const documents = listDocuments();
  const path = documents.get(name);
  if (path === undefined) return undefined;
  const file = join(isInRepository ? REPOSITORY : PACKAGE, path);
  if (!existsSync(file)) return undefined;
  const names = new Map([...documents].map(([other, otherPath]) => [otherPath, other]));
  return readFileSync(file, 'utf8').replaceAll(LINK, (link, target: string, hash: string = '') => {
    const linked = names.get(posix.join(dirname(path), target));
    return linked === undefined ? link : `](${linked}${hash})`;
  });
}

/** The end of a Markdown link to a file: its path, and an optional anchor. */
const LINK = /\]\(([^()#\s:]+)(#[^()\s]*)?\)/g;

export function readSections(): DocsSection[] {
  const sections: DocsSection[] = [];
  for (const file of listDocuments().keys()) {
    const markdown = NOT_SEARCHED.has(file) ? undefined : readDocument(file);
    if (markdown === undefined) continue;
    const [, page = file] = /^# (.+)$/m.exec(markdown) ?? [];
    const linked = markdown
      // An answer has the description of an image, because a page may have no such file.
      .replaceAll(/!\[([^\]]*)\]\([^)]*\)/g, '$1')
      .replaceAll(/\]\((?=[\w-]+\.md[)#])/g, '](/docs/');
    for (const section of splitSections(linked)) {
      sections.push({ id: sections.length, file, page, ...section });
    }
  }
  return sections;
}

/**
 * Splits a document into sections. Leaves out front matter. The text between the title and the next heading
 * is a section with the title, if the document begins with a title. Headings in fenced code are ignored.
 */
export function splitSections(markdown: string): Omit<DocsSection, 'id' | 'file' | 'page'>[] {
  const sections: { title: string; lines: string[] }[] = [];
  let isFenced = false;
  for (const line of markdown.split('\n')) {
    if (line.startsWith('```')) isFenced = !isFenced;
    const heading = isFenced ? null : /^#{1,4} (.+)$/.exec(line);
    if (heading) sections.push({ title: heading[1]!.replaceAll('`', ''), lines: [] });
    else sections.at(-1)?.lines.push(line);
  }
  return sections
    .map(({ title, lines }) => ({ title, slug: slugOf(title), body: lines.join('\n').trim() }))
    .filter(({ body }) => body !== '');
}

/** @returns the anchor that GitHub creates for a heading. */
export function slugOf(title: string): string {
  return title
    .toLowerCase()
    .replaceAll(/[^\p{Letter}\p{Number}\s_-]/gu, '')
    .replaceAll(/\s/g, '-');
}
