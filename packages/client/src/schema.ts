import { StreamError } from '@rivulet/protocol';
import type { Schema } from './types.js';

/** @throws {StreamError} bad_request, if a schema object has no JSON Schema. */
export function jsonSchemaOf(schema: Schema): Record<string, unknown> {
  if (!('~standard' in schema)) return schema.jsonSchema;
  const { jsonSchema } = schema['~standard'];
  if (jsonSchema !== undefined) return jsonSchema.input({ target: 'draft-2020-12' });
  throw new StreamError('bad_request', 'unable to ask: the schema must have a JSON Schema');
}
