import type { JsonSchema } from './provider.js';

/**
 * The schema in the words that most models follow: each `$ref` is replaced by what it names, the parts of
 * an `allOf` are merged, `true` in the place of a schema is `{}`, and `$schema` and `$defs` are left out.
 * Where parts of an `allOf` differ in a keyword, the last counts: the arguments are checked anyway.
 *
 * @throws {TypeError} the schema contains itself, or a reference leads nowhere.
 */
export function withoutReferences(root: JsonSchema): JsonSchema {
  return inline(root, root, []);
}

const OF_THE_DOCUMENT: ReadonlySet<string> = new Set(['$schema', '$id', '$defs', 'definitions']);
/** What stands under these is data, not a schema. */
export const DATA: ReadonlySet<string> = new Set([
  'enum',
  'const',
  'default',
  'examples',
  'required',
]);
/** The keys under these are names, which may be those of keywords. */
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
    // `false` says that there is no such property.
    const properties = Object.entries(value).filter(([, property]) => property !== false);
    return Object.fromEntries(properties.map(([name, property]) => [name, inlineAny(property)]));
  }
  if (Array.isArray(value)) return value.map(inlineAny);
  return isSchema(value) || keyword === 'items' ? inlineAny(value) : value;
}

/** A schema for what both allow, as far as that can be said in one. */
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

/** `#` is the whole, `#/$defs/name` what stands there. */
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
