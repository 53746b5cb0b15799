import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ERRORS, EVENT, PROTOCOL_VERSION } from '@rivulet/protocol';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const document = read('packages/protocol/PROTOCOL.md');

/** The text under each heading. */
function sections(): Map<string, string> {
  const parts = document.split(/^#{2,3} /m).slice(1);
  return new Map(
    parts.map((part) => [part.slice(0, part.indexOf('\n')), part.slice(part.indexOf('\n'))]),
  );
}

/** First column of a section's table. */
function rows(section: string): string[] {
  return [...section.matchAll(/^\| `([^`]+)` \|/gm)].map((match) => match[1]!);
}

interface Shape {
  fields: string[];
  /** The event that its `type` names. */
  event: string | undefined;
}

/** Every interface of messages.ts with its fields, those it extends included. */
function shapes(): Map<string, Shape> {
  const file = ts.createSourceFile(
    'messages.ts',
    read('packages/protocol/src/messages.ts'),
    ts.ScriptTarget.Latest,
  );
  const found = new Map<string, Shape>();
  for (const node of file.statements) {
    if (!ts.isInterfaceDeclaration(node)) continue;
    const fields: string[] = [];
    let event: string | undefined;
    for (const member of node.members.filter(ts.isPropertySignature)) {
      const name = (member.name as ts.Identifier).text;
      fields.push(member.questionToken ? `${name}?` : name);
      const key = /typeof EVENT\.(\w+)/.exec(member.getText(file))?.[1];
      if (name === 'type') event = EVENT[key as keyof typeof EVENT];
    }
    for (const parent of node.heritageClauses ?? []) {
      for (const { expression } of parent.types) {
        fields.push(...(found.get(expression.getText(file))?.fields ?? ['(unknown parent)']));
      }
    }
    found.set(node.name.text, { fields, event });
  }
  return found;
}

/** Sections without conformance tests of their own, and why. */
const NO_TESTS: Readonly<Record<string, string>> = {
  Nomenclature: 'words',
  Connecting: 'a heading',
  'Messages from the client': 'a heading',
  Replies: 'a heading',
  'Message flows': 'a heading',
  'Messages from the server': 'a heading',
  StreamListReply: 'with StreamListRequest',
  StreamSummary: 'with StreamListRequest',
  DoneReply: 'with the requests that it answers',
  Intent: 'with Shapes',
  ContextMessage: 'with Shapes',
  GenerateOptions: 'with Shapes',
  Usage: 'with StreamEndMessage',
  Timing: 'with StreamEndMessage',
  WireError: 'with every refusal',
};

describe('PROTOCOL.md', () => {
  it('has the newest version in its title, and servers speak the version before, as promised', () => {
    const { newest, oldest } = PROTOCOL_VERSION;
    expect(document).toMatch(new RegExp(`^# The Rivulet protocol, version ${newest}\n`));
    expect(oldest).toBeLessThanOrEqual(Math.max(1, newest - 1));
  });

  const documented = sections();

  it.each([...shapes()])('has the fields of %s, and no others', (name, { fields }) => {
    expect(rows(documented.get(name) ?? '').sort()).toEqual([...fields].sort());
  });

  it('has a section for each shape of the code, and for no other', () => {
    const inDocument = [...documented]
      .filter(([, section]) => /^\| field \|/m.test(section))
      .map(([name]) => name);
    expect(inDocument.sort()).toEqual([...shapes().keys()].sort());
  });

  it.each([...shapes()].filter(([, { event }]) => event))(
    'says which event %s is, and from whom, and shows one',
    (name, { event }) => {
      const section = documented.get(name)!;
      const direction = name.endsWith('Request') ? 'client to server' : 'server to client';
      expect(section).toContain(`\`${event}\`, ${direction}.`);
      const example = /```json\n(.+?)\n```/s.exec(section)?.[1];
      const fields = Object.keys(JSON.parse(example ?? '{}'));
      expect(JSON.parse(example!).type).toBe(event);
      expect(rows(section).map((field) => field.replace('?', ''))).toEqual(
        expect.arrayContaining(fields),
      );
      const required = rows(section).filter((field) => !field.endsWith('?'));
      expect(fields).toEqual(expect.arrayContaining(required));
    },
  );

  it('has each section held against servers by the conformance suite', () => {
    const folder = 'test/conformance';
    const files = readdirSync(join(ROOT, folder)).filter((name) => name.endsWith('.test.ts'));
    const tests = files.map((name) => read(`${folder}/${name}`)).join('');
    const dialogue = /^\d\. /;
    const untested = [...documented.keys()].filter(
      (name) => !tests.includes(`describe('${name}'`) && !dialogue.test(name),
    );
    expect(untested.sort()).toEqual(Object.keys(NO_TESTS).sort());
  });

  it('names every event of the code and no other', () => {
    const named = document.matchAll(/^`(\w+)`, (?:client to server|server to client)\./gm);
    const events = new Set([...named].map((match) => match[1]!));
    expect([...events].sort()).toEqual(Object.values(EVENT).sort());
  });

  it('has every error code with whether it is retryable, and no other', () => {
    const table = [...documented.get('Errors')!.matchAll(/^\| `(\w+)` \| (\w+) \| .+ \|$/gm)];
    expect(table.map(([, code, retryable]) => [code, retryable])).toEqual(
      Object.entries(ERRORS).map(([code, { retryable }]) => [code, retryable ? 'yes' : 'no']),
    );
  });
});

describe('the names of events', () => {
  const sources = ['packages', 'demo/src'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((path) => /(^|\/)src\/.*\.ts$/.test(`${folder}/${path}`.replaceAll('\\', '/')))
      .filter((path) => !path.includes('node_modules'))
      .map((path) => join(folder, path)),
  );

  it('are written once, in protocol', () => {
    expect(sources.length).toBeGreaterThan(30);
    const elsewhere = sources.filter((path) => !path.endsWith('protocol/src/messages.ts'));
    // `stream_id` is a field, and `stream_options` one of OpenAI's.
    expect(elsewhere.filter((path) => /['"`]stream_(?!id|options)/.test(read(path)))).toEqual([]);
  });
});
