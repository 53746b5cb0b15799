import { readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** Snippets are checked as if they were files of this folder. */
const FOLDER = `${ROOT}test/snippets/`;

/** A block of fenced code in a document. */
export interface Snippet {
  /** The document and the line of the fence, such as `docs/client.md:12`. */
  place: string;
  language: string;
  code: string;
}

/** @returns the paths of all documents for users, relative to the repository. */
export function listPages(): string[] {
  const docs = readdirSync(`${ROOT}docs`).filter((name) => name.endsWith('.md'));
  const packages = readdirSync(`${ROOT}packages`).map((name) => `packages/${name}/README.md`);
  return [
    'README.md',
    'CONTRIBUTING.md',
    'SECURITY.md',
    'CHANGELOG.md',
    'packages/protocol/PROTOCOL.md',
    ...packages,
    ...docs.map((name) => `docs/${name}`),
  ];
}

export function readPage(path: string): string {
  return readFileSync(`${ROOT}${path}`, 'utf8');
}

/** @returns every block of fenced code in all documents. */
export function listSnippets(): Snippet[] {
  return listPages().flatMap((path) => {
    const page = readPage(path);
    return [...page.matchAll(/^ *```(\S*)\n(.*?)^ *```$/gms)].map(
      ({ 1: language = '', 2: code = '', index }) => ({
        place: `${path}:${page.slice(0, index).split('\n').length}`,
        language,
        code,
      }),
    );
  });
}

/**
 * Checks the types of all snippets in one program.
 *
 * A snippet that begins with a comment such as `// client.ts` is a file of that name, which other snippets of
 * its document can import.
 *
 * @returns each error with the place of its snippet.
 */
export function typeErrors(snippets: readonly Snippet[]): string[] {
  const files = new Map<string, { place: string; code: string }>();
  for (const { place, language, code } of snippets) {
    const page = basename(place).replace(/\W.*/, '');
    const extension = language === 'tsx' || language === 'js' ? language : 'ts';
    const [, named] = /^\/\/ ([\w-]+)\.tsx?$/.exec(code.split('\n', 1)[0] ?? '') ?? [];
    const path = (name: string): string => `${FOLDER}${page}/${name}.${extension}`;
    const isFree = named !== undefined && !files.has(path(named));
    files.set(isFree ? path(named) : path(`at-${place.split(':')[1]}`), {
      place,
      code: `${code}\nexport {};\n`,
    });
  }
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2022,
    lib: ['lib.es2024.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
    module: ts.ModuleKind.ESNext,
    // Not each bundler finds `x.ts` where `./x.js` is imported; so snippets import `./x`.
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    customConditions: ['@rivulet/source'],
    jsx: ts.JsxEmit.ReactJSX,
    experimentalDecorators: true,
    strict: true,
    skipLibCheck: true,
    noEmit: true,
    allowJs: true,
    checkJs: true,
    types: ['node'],
    paths: { '@ai-sdk/google': [`${ROOT}node_modules/ai-sdk-google-4/dist/index.d.ts`] },
  };
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile, directoryExists } = host;
  host.directoryExists = (path) =>
    path.startsWith(FOLDER) || (directoryExists?.(path) ?? ts.sys.directoryExists(path));
  host.fileExists = (path) => files.has(path) || fileExists(path);
  host.readFile = (path) => files.get(path)?.code ?? readFile(path);
  host.getSourceFile = (path, languageVersion, ...rest) => {
    const code = files.get(path)?.code;
    if (code !== undefined) return ts.createSourceFile(path, jsxOf(code), languageVersion, true);
    const file = parsed.get(path) ?? getSourceFile(path, languageVersion, ...rest);
    if (file !== undefined) parsed.set(path, file);
    return file;
  };
  const program = ts.createProgram([`${FOLDER}globals.ts`, ...files.keys()], options, host);
  files.set(`${FOLDER}globals.ts`, { place: 'test/snippets/globals.ts', code: '' });
  return [...files].flatMap(([path, { place }]) => {
    const source = program.getSourceFile(path);
    const diagnostics = [
      ...program.getSyntacticDiagnostics(source),
      ...program.getSemanticDiagnostics(source),
    ];
    const isStrict = !path.endsWith('.js');
    return diagnostics
      .filter(({ code }) => isStrict || !NOT_IN_JAVASCRIPT.has(code))
      .map(({ messageText, start = 0 }) => {
        const line = source === undefined ? 0 : source.getLineAndCharacterOfPosition(start).line;
        const text = source?.text.split('\n')[line]?.trim();
        return `${place}: ${ts.flattenDiagnosticMessageText(messageText, ' ')} (${text})`;
      });
  });
}

/** Files of packages, which do not change while the tests run. */
const parsed = new Map<string, ts.SourceFile>();

/** The diagnostics for a possibly null value and a variable without a type. */
const NOT_IN_JAVASCRIPT = new Set([2531, 7005, 7006, 7031, 7034, 18_047, 18_048]);

/** The JSX of Solid has types of its own. The comment is on the first line, so that lines keep their numbers. */
function jsxOf(code: string): string {
  return /from '(solid-js|@rivulet\/client\/solid)'/.test(code)
    ? `/** @jsxImportSource solid-js */ ${code}`
    : code;
}
