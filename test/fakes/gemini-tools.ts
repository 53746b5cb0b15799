import { createHash } from 'node:crypto';

/** The checks of Gemini 3 for tools before it answers. */

export interface GeminiPart {
  text?: string;
  thought?: boolean;
  thoughtSignature?: string;
  functionCall?: { id?: string; name: string; args: unknown };
  functionResponse?: { id?: string; name: string; response: unknown };
}

export interface GeminiContent {
  role?: string;
  parts?: GeminiPart[];
}

export interface GeminiTools {
  contents?: GeminiContent[];
  tools?: { functionDeclarations?: { name: string; parameters?: Schema }[] }[];
}

type Schema = Record<string, unknown>;

const KEYWORDS = new Set(
  'type format description nullable enum minimum maximum minLength maxLength minItems maxItems items properties required anyOf'.split(
    ' ',
  ),
);

/** As the model signs the first call of a turn. */
export function sign(call: { name: string; args: unknown }): string {
  return createHash('sha256')
    .update(JSON.stringify([call.name, call.args]))
    .digest('base64');
}

/** The reason for Gemini to respond 400; undefined if the request is valid. */
export function complaint({ contents = [], tools = [] }: GeminiTools): string | undefined {
  for (const { functionDeclarations = [] } of tools) {
    for (const [i, { parameters }] of functionDeclarations.entries()) {
      const at = `tools[0].function_declarations[${i}].parameters`;
      const wrong = parameters && (aboutRoot(parameters, at) ?? aboutSchema(parameters, at));
      if (wrong !== undefined) return wrong;
    }
  }
  for (const [i, content] of contents.entries()) {
    const wrong = aboutTurn(content, contents[i + 1]);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

function aboutRoot({ type, properties = {} }: Schema, at: string): string | undefined {
  if (type !== 'object') return `${at} schema should be of type OBJECT`;
  if (Object.keys(properties as object).length > 0) return undefined;
  return `${at}.properties: should be non-empty for OBJECT type`;
}

function aboutSchema(schema: Schema, at: string): string | undefined {
  const unknown = Object.keys(schema).find((keyword) => !KEYWORDS.has(keyword));
  if (unknown !== undefined) {
    return `Invalid JSON payload received. Unknown name "${unknown}" at '${at}': Cannot find field.`;
  }
  const { type, items, anyOf, properties = {}, enum: values, required } = schema;
  if (anyOf !== undefined && Object.keys(schema).length > 1) {
    return `${at}: schema specified other fields alongside any_of. When using any_of, it must be the only field set.`;
  }
  if (Array.isArray(anyOf) && anyOf.length === 0) return `${at}.any_of: should be non-empty`;
  if (typeof type !== 'string' && anyOf === undefined) return `${at}.type: must be specified`;
  if (type === 'array' && items === undefined) return `${at}.items: missing field.`;
  if (Array.isArray(values)) {
    if (values.length === 0) return `${at}.enum: should be non-empty`;
    if (type !== 'string') return `${at}.enum: only allowed for STRING type`;
    const wrong = values.findIndex((value) => typeof value !== 'string' || value === '');
    if (wrong !== -1) return `${at}.enum[${wrong}]: cannot be empty`;
  }
  if (Array.isArray(required)) {
    if (type !== 'object') return `${at}.required: only allowed for OBJECT type`;
    const missing = required.find((name) => !Object.hasOwn(properties as object, String(name)));
    if (missing !== undefined) return `${at}.required: property ${missing} is not defined`;
  }
  const inner: [string, Schema][] = [
    ...Object.entries(properties as Record<string, Schema>),
    ...((anyOf as Schema[] | undefined) ?? []).map((each, i): [string, Schema] => [`${i}`, each]),
    ...(items === undefined ? [] : [['items', items as Schema] as [string, Schema]]),
  ];
  for (const [name, each] of inner) {
    const wrong = aboutSchema(each, `${at}.${name}`);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

function aboutTurn({ role, parts = [] }: GeminiContent, next?: GeminiContent): string | undefined {
  const signed = parts.filter(({ functionCall }) => functionCall);
  if (signed.length === 0) return undefined;
  if (role !== 'model') return 'Please ensure that function call turns are of the model.';
  for (const [i, { functionCall, thoughtSignature }] of signed.entries()) {
    const wanted = i === 0 ? sign(functionCall!) : undefined;
    if (thoughtSignature === wanted) continue;
    return thoughtSignature === undefined
      ? 'Function call is missing a thought_signature in functionCall parts.'
      : 'Corrupted thought signature.';
  }
  const calls = signed.map(({ functionCall }) => [functionCall!.name, functionCall!.id]);
  const responses = (next?.parts ?? []).flatMap(({ functionResponse: given }) =>
    given ? [[given.name, given.id]] : [],
  );
  if (next?.role === 'user' && JSON.stringify(calls) === JSON.stringify(responses)) {
    return undefined;
  }
  return 'Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.';
}
