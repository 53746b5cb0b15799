import type { JsonSchema } from './provider.js';

/**
 * The schema with each `$ref` replaced by what it names, and without `$schema` and `$defs`: not every
 * model follows references. Throws a `TypeError` where a schema contains itself or a reference leads
 * nowhere.
 */
export function withoutReferences(root: JsonSchema): JsonSchema {
  return inline(root, root, []);
}

const OF_THE_DOCUMENT: ReadonlySet<string> = new Set(['$schema', '$id', '$defs', 'definitions']);

function inline(schema: JsonSchema, root: JsonSchema, path: readonly string[]): JsonSchema {
  const { $ref: reference, ...rest } = schema;
  if (typeof reference === 'string') {
    if (path.includes(reference)) {
      throw new TypeError(`its schema contains itself (${reference}), which a model cannot read`);
    }
    const named = inline(find(root, reference), root, [...path, reference]);
    return { ...named, ...inline(rest, root, path) };
  }
  const kept = Object.entries(rest).filter(([keyword]) => !OF_THE_DOCUMENT.has(keyword));
  return Object.fromEntries(
    kept.map(([keyword, value]) => [keyword, inlineIn(keyword, value, root, path)]),
  );
}

function inlineIn(
  keyword: string,
  value: unknown,
  root: JsonSchema,
  path: readonly string[],
): unknown {
  // What stands under these is data, not a schema.
  if (keyword === 'enum' || keyword === 'const' || keyword === 'default' || keyword === 'examples')
    return value;
  // The keys of these are names, which may be those of keywords.
  if ((keyword === 'properties' || keyword === 'patternProperties') && isSchema(value)) {
    const properties = Object.entries(value);
    return Object.fromEntries(
      properties.map(([name, property]) => [
        name,
        isSchema(property) ? inline(property, root, path) : property,
      ]),
    );
  }
  if (Array.isArray(value)) {
    return value.map((item: unknown) => (isSchema(item) ? inline(item, root, path) : item));
  }
  return isSchema(value) ? inline(value, root, path) : value;
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
