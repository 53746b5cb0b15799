import type { Schema } from '../types.js';

const MAX_ISSUES = 5;

/** @throws {TypeError} by its promise, with the issues in words; or what `validate` of a plain schema throws. */
export async function validate<T>(schema: Schema<T>, value: unknown): Promise<T> {
  if (!('~standard' in schema))
    return schema.validate === undefined ? (value as T) : schema.validate(value);
  const result = await schema['~standard'].validate(value);
  if (result.issues === undefined) return result.value;
  const issues = result.issues.slice(0, MAX_ISSUES).map(({ message, path = [] }) => {
    const keys = path.map((step) => String(typeof step === 'object' ? step.key : step));
    return keys.length === 0 ? message : `${keys.join('.')}: ${message}`;
  });
  throw new TypeError(issues.join('; '));
}
