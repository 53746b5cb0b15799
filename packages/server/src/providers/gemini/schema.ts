import { SchemaType } from '@google/generative-ai';
import { isSchema, mergeSchemas } from '../json-schema.js';
import type { JsonSchema } from '../provider.js';

/** The schema of Gemini's `functionDeclarations`. Gemini refuses unknown keywords. */
export interface GeminiSchema {
  type?: SchemaType;
  description?: string;
  nullable?: boolean;
  format?: string;
  enum?: string[];
  minimum?: number;
  maximum?: number;
  minItems?: number;
  maxItems?: number;
  items?: GeminiSchema;
  properties?: Record<string, GeminiSchema>;
  required?: string[];
  anyOf?: GeminiSchema[];
}

const TYPES: ReadonlyMap<unknown, SchemaType> = new Map([
  ['string', SchemaType.STRING],
  ['number', SchemaType.NUMBER],
  ['integer', SchemaType.INTEGER],
  ['boolean', SchemaType.BOOLEAN],
  ['array', SchemaType.ARRAY],
  ['object', SchemaType.OBJECT],
]);

/**
 * Converts a JSON Schema from `withoutReferences` to Gemini's format. Constraints that Gemini cannot express
 * are left out, because the arguments are validated later.
 *
 * @returns undefined for an object without properties, which Gemini refuses.
 */
export function toGeminiSchema(schema: JsonSchema): GeminiSchema | undefined {
  const { properties, required, description } = schema;
  // The root is an object, so it has no keywords beside its properties.
  return isSchema(properties) && Object.keys(properties).length > 0
    ? convertOne({ type: 'object', properties, required, description })
    : undefined;
}

function convert(schema: JsonSchema): GeminiSchema {
  const { alternatives, isNullable } = alternativesOf(schema);
  const nullable = isNullable ? { nullable: true } : {};
  const [only = {}, ...others] = alternatives;
  if (others.length === 0) return { ...convertOne(only), ...nullable };
  // Gemini allows no keyword beside `anyOf`, so each alternative repeats the common keywords.
  return { anyOf: alternatives.map((each) => ({ ...convert(each), ...nullable })) };
}

/** JSON Schema expresses null as a type or a value, Gemini as the property `nullable`. */
function alternativesOf(schema: JsonSchema): {
  alternatives: JsonSchema[];
  isNullable: boolean;
} {
  const { anyOf, oneOf, type, ...rest } = schema;
  const own: JsonSchema = type === undefined ? rest : { ...rest, type };
  const among = [anyOf, oneOf].flatMap(schemasIn);
  const all: JsonSchema[] =
    among.length > 0
      ? among.map((each) => mergeSchemas(own, each))
      : Array.isArray(type)
        ? type.map((each: unknown) => ({ ...rest, type: each }))
        : [own];
  const alternatives = all.filter((each) => !isNull(each));
  const isNullable = alternatives.length < all.length || valuesOf(own).includes(null);
  return {
    alternatives: alternatives.length > 0 ? alternatives : [described(own)],
    isNullable,
  };
}

function isNull({ type, ...rest }: JsonSchema): boolean {
  const values = valuesOf(rest);
  return type === 'null' || (values.length > 0 && values.every((value) => value === null));
}

function described({ description }: JsonSchema): JsonSchema {
  return description === undefined ? {} : { description };
}

function convertOne(schema: JsonSchema): GeminiSchema {
  const { required, items, prefixItems, format } = schema;
  const properties = Object.entries(isSchema(schema['properties']) ? schema['properties'] : {});
  const type = typeOf(schema);
  return {
    type,
    ...describe(schema),
    ...(type === SchemaType.STRING && enumOf(schema)),
    ...(type === SchemaType.STRING && format === 'date-time' && { format }),
    ...((type === SchemaType.INTEGER || type === SchemaType.NUMBER) && bounds(schema)),
    ...(type === SchemaType.ARRAY && {
      ...counts(schema),
      items: convert(isSchema(items) ? items : { anyOf: schemasIn(prefixItems) }),
    }),
    ...(properties.length > 0 && {
      properties: Object.fromEntries(
        properties.map(([name, value]) => [name, convert(isSchema(value) ? value : {})]),
      ),
      ...requiredOf(required, properties),
    }),
  };
}

/** Gemini refuses a required property that is not declared. */
function requiredOf(
  required: unknown,
  properties: readonly [string, unknown][],
): Pick<GeminiSchema, 'required'> {
  const names = Array.isArray(required) ? (required as unknown[]) : [];
  const known = properties.map(([name]) => name).filter((name) => names.includes(name));
  return known.length > 0 ? { required: known } : {};
}

/** Gemini requires a type. A schema without one is sent as text. */
function typeOf({ type, ...rest }: JsonSchema): SchemaType {
  const value = valuesOf(rest).find((each) => each !== null);
  const implied = isSchema(rest['properties']) ? 'object' : typeof value;
  return TYPES.get(type ?? implied) ?? SchemaType.STRING;
}

/** All values that the schema allows; empty if it does not list them. */
function valuesOf(schema: JsonSchema): unknown[] {
  if (Array.isArray(schema['enum'])) return schema['enum'] as unknown[];
  return 'const' in schema ? [schema['const']] : [];
}

/** Gemini's enums contain only text, and no empty text. */
function enumOf(schema: JsonSchema): Pick<GeminiSchema, 'enum'> {
  const values = valuesOf(schema).filter((value) => value !== null);
  const texts = values.filter((value) => typeof value === 'string');
  const filled = texts.filter((text) => text !== '');
  return filled.length > 0 && texts.length === values.length ? { enum: filled } : {};
}

/** Lists the allowed values in the description if an enum cannot. */
function describe(schema: JsonSchema): { description?: string } {
  const { description } = schema;
  const values = valuesOf(schema).filter((value) => value !== null);
  const isText = values.every((value) => typeof value === 'string');
  const parts = [
    typeof description === 'string' ? description : '',
    isText ? '' : `One of: ${values.map(show).join(', ')}.`,
    isText && values.includes('') ? 'It may be empty.' : '',
  ].filter((part) => part !== '');
  return parts.length === 0 ? {} : { description: parts.join(' ') };
}

function show(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function bounds(schema: JsonSchema): Pick<GeminiSchema, 'minimum' | 'maximum'> {
  const least = schema['minimum'] ?? schema['exclusiveMinimum'];
  const most = schema['maximum'] ?? schema['exclusiveMaximum'];
  return {
    ...(isBound(least) && { minimum: least }),
    ...(isBound(most) && { maximum: most }),
  };
}

/** zod adds the range of safe integers to every integer. This range does not help a model. */
function isBound(value: unknown): value is number {
  return typeof value === 'number' && Math.abs(value) < Number.MAX_SAFE_INTEGER;
}

function counts({ minItems, maxItems }: JsonSchema): Pick<GeminiSchema, 'minItems' | 'maxItems'> {
  return {
    ...(typeof minItems === 'number' && { minItems }),
    ...(typeof maxItems === 'number' && { maxItems }),
  };
}

function schemasIn(value: unknown): JsonSchema[] {
  return Array.isArray(value) ? value.filter(isSchema) : [];
}
