import type { JsonSchema } from './provider.js';

/**
 * Converts a schema to the keywords that most models support: each `$ref` is replaced by its definition, the
 * parts of an `allOf` are merged, `true` in place of a schema becomes `{}`, and `$schema` and `$defs` are
 * left out. If parts of an `allOf` have different values for a keyword, the last one applies, because the
 * arguments are validated later.
 *
 * @throws {TypeError} the schema contains itself, or a reference has no definition.
 */
export function withoutReferences(root: JsonSchema): JsonSchema {
  return inline(root, root, []);
}

const OF_THE_DOCUMENT: ReadonlySet<string> = new Set(['$schema', '$id', '$defs', 'definitions']);
/** The values of these keywords are data, not schemas. */
export const DATA: ReadonlySet<string> = new Set([
  'enum',
  'const',
  'default',
  'examples',
  'required',
]);
/** The keys in the values of these keywords are names, and may be equal to keywords. */
export const NAMED: ReadonlySet<string> = new Set([
  'properties',
  'patternProperties',
  '$defs',
  'definitions',
]);

function inline(schema: JsonSchema, root: JsonSchema, path: readonly string[]): JsonSchema {
  const { $ref: reference, allOf, ...rest } = schema;
  if (typeof reference === 'string') {
    if (path.includes(reference)) {
      throw new TypeError(`its schema contains itself (${reference}), which a model cannot read`);
    }
    const named = inline(find(root, reference), root, [...path, reference]);
    return mergeSchemas(named, inline({ ...rest, allOf }, root, path));
  }
  const kept = Object.entries(rest).filter(([keyword]) => !OF_THE_DOCUMENT.has(keyword));
  const own: JsonSchema = Object.fromEntries(
    kept.map(([keyword, value]) => [keyword, inlineIn(keyword, value, root, path)]),
  );
  const parts = Array.isArray(allOf) ? allOf.filter(isSchema) : [];
  return [...parts.map((part) => inline(part, root, path)), own].reduce(mergeSchemas);
}

function inlineIn(
  keyword: string,
  value: unknown,
  root: JsonSchema,
  path: readonly string[],
): unknown {
  if (DATA.has(keyword)) return value;
  const inlineAny = (each: unknown): unknown => {
    if (each === true) return {};
    return isSchema(each) ? inline(each, root, path) : each;
  };
  if (NAMED.has(keyword) && isSchema(value)) {
    // `false` means that the property is not allowed.
    const properties = Object.entries(value).filter(([, property]) => property !== false);
    return Object.fromEntries(properties.map(([name, property]) => [name, inlineAny(property)]));
  }
  if (Array.isArray(value)) return value.map(inlineAny);
  return isSchema(value) || keyword === 'items' ? inlineAny(value) : value;
}

/** @returns a schema for the values that both allow, as far as one schema can express it. */
export function mergeSchemas(first: JsonSchema, second: JsonSchema): JsonSchema {
  const merged: Record<string, unknown> = { ...first, ...second };
  if (isSchema(first['properties']) && isSchema(second['properties'])) {
    merged['properties'] = { ...first['properties'], ...second['properties'] };
  }
  if (Array.isArray(first['required']) && Array.isArray(second['required'])) {
    merged['required'] = [...new Set<unknown>([...first['required'], ...second['required']])];
  }
  return merged;
}

/** Resolves a reference: `#` is the root, `#/$defs/name` one of its definitions. */
function find(root: JsonSchema, reference: string): JsonSchema {
  let found: unknown = root;
  for (const step of reference.split('/').slice(1)) {
    const name = decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~');
    found = isSchema(found) ? found[name] : undefined;
  }
  if (!reference.startsWith('#') || !isSchema(found)) {
    throw new TypeError(`its schema refers to ${reference}, which is not in it`);
  }
  return found;
}

export function isSchema(value: unknown): value is JsonSchema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
