import type { Intent } from '@rivulet/protocol';
import type { PreparedRequest } from '../hooks.js';
import type { GenerateRequest } from '../request.js';
import type { JsonSchema, Prompt, ToolDeclaration } from '../providers/provider.js';

/** The operator's values for every answer. The model's own default applies where a value is undefined. */
export interface PromptDefaults {
  systemPrompt: string;
  temperature?: number | undefined;
  topP?: number | undefined;
  topK?: number | undefined;
  /** The limit in tokens. A request may lower it. */
  maxTokens?: number | undefined;
}

/**
 * Builds the prompt: the system prompt, the history, the question, the text to continue, and the tools, with
 * the changes of `prepared`. Text from a client never becomes a part of the system prompt.
 */
export function buildPrompt(
  request: GenerateRequest,
  defaults: PromptDefaults,
  tools: readonly ToolDeclaration[] = [],
  prepared: PreparedRequest = {},
): Prompt {
  const { query, intent, context = [], options = {}, continueText = '' } = request;
  const { options: own = {} } = prepared;
  const seed = own.seed ?? options.seed;
  const asked = prepared.clientContext === false ? [] : context;
  const history = [...(prepared.context ?? []), ...asked].map(({ role, content }) => ({
    role,
    text: content,
  }));
  return {
    system: prepared.system ?? defaults.systemPrompt,
    messages: [
      ...history,
      { role: 'user', text: query, ...(intent && { intent: toLine(intent) }) },
      ...(continueText === '' ? [] : [{ role: 'assistant' as const, text: continueText }]),
    ],
    ...(continueText !== '' && { continues: true }),
    ...(options.response_schema && { responseSchema: withoutDialect(options.response_schema) }),
    ...(tools.length > 0 && { tools: tools.map(declarationOf) }),
    temperature: own.temperature ?? options.temperature ?? defaults.temperature,
    topP: own.top_p ?? options.top_p ?? defaults.topP,
    topK: own.top_k ?? options.top_k ?? defaults.topK,
    maxTokens: lowest(own.max_tokens, options.max_tokens, defaults.maxTokens),
    ...(options.stop && options.stop.length > 0 && { stop: options.stop }),
    ...(seed !== undefined && { seed }),
  };
}

/** Some providers refuse a `$schema`. */
function withoutDialect(schema: JsonSchema): JsonSchema {
  return Object.fromEntries(Object.entries(schema).filter(([keyword]) => keyword !== '$schema'));
}

/** Copies only the fields that the model receives. They are also part of the cache key. */
function declarationOf(tool: ToolDeclaration): ToolDeclaration {
  const { name, description, parameters, isClientTool } = tool;
  return { name, description, parameters, ...(isClientTool && { isClientTool }) };
}

/** JSON escapes line feeds, but not the other characters that end a line. */
function toLine({ name, parameters = {} }: Intent): string {
  return JSON.stringify({
    name,
    ...(Object.keys(parameters).length > 0 && { parameters }),
  }).replace(
    /[\u0085\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function lowest(...limits: (number | undefined)[]): number | undefined {
  const known = limits.filter((limit) => limit !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}
