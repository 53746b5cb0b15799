import { SchemaType } from '@google/generative-ai';
import { isSchema } from '../json-schema.js';
import type { JsonSchema } from '../provider.js';

/** What Gemini's `functionDeclarations` take: it refuses a keyword that it does not know. */
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
 * A JSON Schema without references as Gemini takes it; undefined for an object without properties,
 * which it refuses. What cannot be said in its words is left out: the arguments are checked anyway.
 */
export function toGeminiSchema(schema: JsonSchema): GeminiSchema | undefined {
  const properties = isSchema(schema['properties']) ? schema['properties'] : {};
  return Object.keys(properties).length === 0 ? undefined : convert(schema);
}

function convert(schema: JsonSchema): GeminiSchema {
  const { alternatives, nullable } = alternativesOf(schema);
  const [only, ...others] = alternatives;
  const converted =
    only === undefined || others.length > 0
      ? { ...describe(schema), anyOf: alternatives.map(convert) }
      : convertOne(only);
  return nullable ? { ...converted, nullable: true } : converted;
}

/** JSON Schema has null as a type, Gemini as a property of another. */
function alternativesOf(schema: JsonSchema): { alternatives: JsonSchema[]; nullable: boolean } {
  const { anyOf, oneOf, type, description, ...rest } = schema;
  const all: JsonSchema[] = [anyOf, oneOf].flatMap(schemasIn);
  if (all.length === 0 && Array.isArray(type)) {
    all.push(...type.map((each: unknown) => ({ ...rest, type: each })));
  }
  if (all.length === 0) return { alternatives: [schema], nullable: false };
  const alternatives = all.filter((each) => each['type'] !== 'null');
  const described = typeof description === 'string' ? { description } : {};
  return {
    alternatives: alternatives.length === 1 ? [{ ...alternatives[0], ...described }] : alternatives,
    nullable: alternatives.length < all.length,
  };
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
      ...(Array.isArray(required) && { required: required as string[] }),
    }),
  };
}

/** Gemini wants a type. What takes anything takes text. */
function typeOf({ type, const: only, enum: values }: JsonSchema): SchemaType {
  const [value] = Array.isArray(values) ? (values as unknown[]) : [only];
  return TYPES.get(type ?? typeof value) ?? SchemaType.STRING;
}

/** Gemini's enums are of text. */
function enumOf({ enum: values, const: only }: JsonSchema): Pick<GeminiSchema, 'enum'> {
  const all: unknown[] = Array.isArray(values) ? values : [only];
  const texts = all.filter((value) => typeof value === 'string');
  return texts.length === all.length ? { enum: texts } : {};
}

function describe({ description, enum: values, const: only }: JsonSchema): {
  description?: string;
} {
  const all: unknown[] = Array.isArray(values) ? values : only === undefined ? [] : [only];
  const isText = all.every((value) => typeof value === 'string');
  const parts = [
    typeof description === 'string' ? description : '',
    isText ? '' : `One of: ${all.join(', ')}.`,
  ].filter((part) => part !== '');
  return parts.length === 0 ? {} : { description: parts.join(' ') };
}

function bounds(schema: JsonSchema): Pick<GeminiSchema, 'minimum' | 'maximum'> {
  const least = schema['minimum'] ?? schema['exclusiveMinimum'];
  const most = schema['maximum'] ?? schema['exclusiveMaximum'];
  return {
    ...(isBound(least) && { minimum: least }),
    ...(isBound(most) && { maximum: most }),
  };
}

/** zod gives every integer the safe ones as bounds, which tells a model nothing. */
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
