import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const SOURCES = join(ROOT, 'packages/');

/** The names of types that callers write themselves; other types are what they get from us. */
const OPTIONS = /(Options|Settings|Limits|Config|Deadlines|Request|Identity|Intent)$/;

/** The entry points of a package, as `exports` of its package.json names their sources. */
function entriesOf(name: string): string[] {
  const folder = join(ROOT, 'packages', name);
  const { exports } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
    exports: Record<string, { '@rivulet/source': string }>;
  };
  return Object.values(exports).map((entry) => join(folder, entry['@rivulet/source']));
}

/**
 * Finds the options in everything that a caller passes to a package or returns to it: in parameters of what
 * it exports, results of callbacks, and what these have inside.
 *
 * @returns `Type.property` of each optional property, and of those that do not accept `undefined`.
 */
function optionalProperties(entries: string[]): { all: string[]; exact: string[] } {
  const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.base.json'), (path) =>
    readFileSync(path, 'utf8'),
  ) as { config: object };
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, ROOT);
  const program = ts.createProgram(entries, {
    ...options,
    lib: ['lib.es2024.d.ts', 'lib.dom.d.ts'],
    noEmit: true,
    customConditions: ['@rivulet/source'],
  });
  const checker = program.getTypeChecker();
  const all = new Set<string>();
  const exact = new Set<string>();
  const seen = { in: new Set<ts.Type>(), out: new Set<ts.Type>() };

  function isOurs(symbol: ts.Symbol): boolean {
    return (
      symbol.declarations?.some((at) => at.getSourceFile().fileName.startsWith(SOURCES)) === true
    );
  }

  function isPublic(symbol: ts.Symbol): boolean {
    const hidden = ts.ModifierFlags.Private | ts.ModifierFlags.Protected;
    const isHidden = symbol.declarations?.some(
      (at) => (ts.getCombinedModifierFlags(at) & hidden) !== 0 || isPrivateName(at),
    );
    return isHidden !== true;
  }

  function check(property: ts.Symbol, type: ts.Type): void {
    const owner = optionsTypeOf(property);
    if (owner === undefined) return;
    const name = `${owner}.${property.name}`;
    all.add(name);
    // The type that stands for an absent property is another one than `undefined`.
    const accepts = (type.isUnion() ? type.types : [type]).some(
      (part) =>
        part === checker.getUndefinedType() ||
        (part.flags & (ts.TypeFlags.Any | ts.TypeFlags.Unknown)) !== 0,
    );
    if (!accepts) exact.add(name);
  }

  function walk(type: ts.Type, side: 'in' | 'out'): void {
    if (seen[side].has(type)) return;
    seen[side].add(type);
    if (type.isUnionOrIntersection()) {
      for (const part of type.types) walk(part, side);
    }
    if (type.isUnion()) return;
    for (const argument of checker.getTypeArguments(type as ts.TypeReference)) walk(argument, side);
    const signatures = [...type.getCallSignatures(), ...type.getConstructSignatures()];
    for (const signature of signatures) {
      for (const parameter of signature.parameters) {
        walk(checker.getTypeOfSymbol(parameter), side === 'in' ? 'out' : 'in');
      }
      walk(signature.getReturnType(), side);
    }
    for (const property of checker.getPropertiesOfType(type)) {
      if (!isOurs(property) || !isPublic(property)) continue;
      const propertyType = checker.getTypeOfSymbol(property);
      const isOptional = (property.flags & ts.SymbolFlags.Optional) !== 0;
      if (side === 'in' && isOptional) check(property, propertyType);
      walk(propertyType, side);
    }
  }

  for (const entry of entries) {
    const file = program.getSourceFile(entry)!;
    for (const exported of checker.getExportsOfModule(checker.getSymbolAtLocation(file)!)) {
      const isAlias = (exported.flags & ts.SymbolFlags.Alias) !== 0;
      const symbol = isAlias ? checker.getAliasedSymbol(exported) : exported;
      if ((symbol.flags & ts.SymbolFlags.Value) !== 0) walk(checker.getTypeOfSymbol(symbol), 'out');
    }
  }
  return { all: [...all].sort(), exact: [...exact].sort() };
}

/** The type that a property belongs to, if that is for options; a function, if they are its parameter's. */
function optionsTypeOf(property: ts.Symbol): string | undefined {
  let at: ts.Node | undefined = property.declarations?.[0];
  while (at !== undefined) {
    if (ts.isParameter(at)) return at.parent.name?.getText() ?? 'constructor';
    if (ts.isInterfaceDeclaration(at) || ts.isTypeAliasDeclaration(at)) {
      return OPTIONS.test(at.name.text) ? at.name.text : undefined;
    }
    at = at.parent;
  }
  return undefined;
}

function isPrivateName(declaration: ts.Declaration): boolean {
  const { name } = declaration as ts.NamedDeclaration;
  return name !== undefined && ts.isPrivateIdentifier(name);
}

describe.each([
  ['client', ['ClientOptions.url', 'UseAnswerOptions.answer', 'MockClientOptions.connection$']],
  ['server', ['AttachOptions.prepare', 'ProviderConfig.retries', 'Identity.expiresAt']],
])('each option of the %s', (name, some) => {
  it('may be `undefined`, where it may be absent', { timeout: 60_000 }, () => {
    const { all, exact } = optionalProperties(entriesOf(name));
    expect(all).toEqual(expect.arrayContaining(some));
    expect(exact).toEqual([]);
  });
});
