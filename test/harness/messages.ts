import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

/** A text that a developer, an operator or a visitor may read. */
export interface Message {
  /** The path of its file in the repository. */
  readonly file: string;
  /** `error` begins with "unable to"; `hint` is a field of a log line; `setting` is about a wrong setting;
   * `page` is shown by the demo page. */
  readonly kind: 'error' | 'hint' | 'setting' | 'page';
  /** The text, with `…` in place of each value. */
  readonly text: string;
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const SOURCES = ['packages/protocol/src', 'packages/server/src', 'packages/client/src', 'demo'];
const PAGE_FOLDER = 'demo/src/';
/** A text of the page begins with a capital letter and has a second word. */
const PAGE_TEXT = /^[A-Z][a-zé’]*[ ,:.…][^=<>{}]*$/;
const IS_OUTSIDE = /node_modules|\/dist\/|\/examples\/|\.d\.ts$/;

/** Reads the messages from the syntax trees of the packages and of the demo, and from its HTML. */
export function collectMessages(): Message[] {
  const files = SOURCES.flatMap((folder) =>
    readdirSync(`${ROOT}${folder}`, { recursive: true, encoding: 'utf8' })
      .map((path) => `${folder}/${path}`)
      .filter((path) => /\.tsx?$/.test(path) && !IS_OUTSIDE.test(path)),
  );
  const messages = [...new Set(files)].toSorted().flatMap((file) => messagesOf(file));
  return [...messages, ...htmlTexts('demo/index.html')];
}

function messagesOf(file: string): Message[] {
  const source = ts.createSourceFile(file, read(file), ts.ScriptTarget.Latest, true);
  const found = new Map<string, Message>();

  function visit(node: ts.Node): void {
    const text = textOf(node);
    const kind = text === undefined ? undefined : kindOf(node, text, file);
    if (text !== undefined && kind !== undefined) found.set(text, { file, kind, text });
    // The parts of a concatenation are no messages of their own.
    if (text === undefined || !ts.isBinaryExpression(node)) ts.forEachChild(node, visit);
  }

  visit(source);
  return [...found.values()];
}

function kindOf(node: ts.Node, text: string, file: string): Message['kind'] | undefined {
  if (text.startsWith('unable to ')) return 'error';
  const { parent } = node;
  if (ts.isPropertyAssignment(parent) && parent.name.getText() === 'hint') return 'hint';
  if (ts.isNewExpression(parent) && parent.expression.getText() === 'ConfigError') return 'setting';
  return file.startsWith(PAGE_FOLDER) && PAGE_TEXT.test(text) ? 'page' : undefined;
}

/** @returns the text of a literal, a template, or a concatenation of them. */
function textOf(node: ts.Node): string | undefined {
  if (ts.isStringLiteral(node) || ts.isNoSubstitutionTemplateLiteral(node)) return node.text;
  if (ts.isTemplateExpression(node)) {
    return node.head.text + node.templateSpans.map(({ literal }) => `…${literal.text}`).join('');
  }
  if (!ts.isBinaryExpression(node) || node.operatorToken.kind !== ts.SyntaxKind.PlusToken) {
    return undefined;
  }
  const [left, right] = [textOf(node.left), textOf(node.right)];
  return left === undefined || right === undefined ? undefined : left + right;
}

function htmlTexts(file: string): Message[] {
  const html = read(file).replaceAll(/<(script|style|symbol)[^]*?<\/\1>/g, '');
  const texts = [...html.matchAll(/(?:title|aria-label|placeholder)="([^"]+)"|>([^<]+)</g)];
  return texts
    .map(([, attribute, text]) => (attribute ?? text ?? '').replaceAll(/\s+/g, ' ').trim())
    .filter((text) => PAGE_TEXT.test(text))
    .map((text) => ({ file, kind: 'page', text }));
}

function read(file: string): string {
  return readFileSync(`${ROOT}${file}`, 'utf8');
}
