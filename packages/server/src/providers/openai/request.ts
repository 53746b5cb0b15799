import type { ChatCompletionCreateParamsStreaming } from 'openai/resources/chat/completions';
import { DATA, isSchema, NAMED } from '../json-schema.js';
import {
  type AssistantMessage,
  type JsonSchema,
  type Prompt,
  type PromptMessage,
  type ToolCall,
  type ToolDeclaration,
  type ToolResult,
  userText,
} from '../provider.js';
import type { Parameter } from './errors.js';

const MAX_STOP_TEXTS = 4;

/** A message as the wire has it. Beside what the client's types name, it may have thoughts. */
interface Message {
  role: 'system' | 'user' | 'assistant' | 'tool';
  content: string | null;
  tool_calls?: readonly object[];
  tool_call_id?: string;
}

/** The fields of a turn that its model is given back, when it has called tools. */
export interface RawTurn {
  /** `reasoning` or `reasoning_content`, as it came. */
  thoughts: Readonly<Record<string, string>>;
  /** The additional fields of each call, in their order, such as the signature of Gemini. */
  extras: readonly (object | undefined)[];
}

/** Converts a prompt to a request for `model`, without the parameters that its server does not support. */
export function toRequest(
  prompt: Prompt,
  model: string,
  without: ReadonlySet<Parameter>,
): ChatCompletionCreateParamsStreaming {
  const { tools = [], toolChoice, stop = [], maxTokens } = prompt;
  const fields: Partial<Record<Parameter, unknown>> = {
    tools: tools.length === 0 ? undefined : tools.map(toTool),
    max_tokens: maxTokens,
    stream_options: { include_usage: true },
    temperature: prompt.temperature,
    top_p: prompt.topP,
    top_k: prompt.topK,
    seed: prompt.seed,
    stop: stop.length === 0 ? undefined : stop.slice(0, MAX_STOP_TEXTS),
  };
  const taken = Object.entries(fields).filter(
    ([name, value]) => value !== undefined && !without.has(name as Parameter),
  );
  return {
    model,
    stream: true,
    // The types of the client have OpenAI's own parameters only.
    messages: toMessages(prompt, model, without) as ChatCompletionCreateParamsStreaming['messages'],
    ...Object.fromEntries(taken),
    ...(prompt.responseSchema !== undefined && {
      response_format: toResponseFormat(prompt.responseSchema),
    }),
    ...(toolChoice === 'none' &&
      tools.length > 0 &&
      !without.has('tools') && { tool_choice: 'none' }),
    // OpenAI's newer models take nothing but this.
    ...(maxTokens !== undefined &&
      without.has('max_tokens') && { max_completion_tokens: maxTokens }),
  };
}

/** OpenAI enforces a schema only if it is strict, and refuses a strict one in which a property is optional. */
function toResponseFormat(
  schema: JsonSchema,
): NonNullable<ChatCompletionCreateParamsStreaming['response_format']> {
  const strict = toStrict(schema);
  return {
    type: 'json_schema',
    json_schema: {
      name: 'answer',
      schema: { ...(strict ?? schema) },
      strict: strict !== undefined,
    },
  };
}

/** OpenAI refuses these in a strict schema. */
const UNENFORCED = ['allOf', 'oneOf', 'not', 'prefixItems', 'patternProperties'];

/** @returns the schema with closed objects; undefined if an object has optional or unnamed properties. */
function toStrict(schema: JsonSchema): JsonSchema | undefined {
  let isStrict = true;
  function close(value: unknown): unknown {
    if (Array.isArray(value)) return value.map(close);
    if (!isSchema(value)) return value;
    const closed = Object.fromEntries(
      Object.entries(value).map(([key, each]) => [
        key,
        DATA.has(key) ? each : NAMED.has(key) && isSchema(each) ? closeEach(each) : close(each),
      ]),
    );
    if (UNENFORCED.some((keyword) => keyword in value)) isStrict = false;
    const { type, properties, required, additionalProperties = false } = value;
    if (type !== 'object' && properties === undefined) return closed;
    const names = Object.keys(isSchema(properties) ? properties : {});
    const isClosed = additionalProperties === false && Array.isArray(required ?? []);
    isStrict &&= isClosed && names.every((name) => ((required ?? []) as unknown[]).includes(name));
    return { ...closed, additionalProperties: false };
  }
  const closeEach = (schemas: JsonSchema): JsonSchema =>
    Object.fromEntries(Object.entries(schemas).map(([name, each]) => [name, close(each)]));
  const closed = close(schema);
  return isStrict && isSchema(closed) && closed['type'] === 'object' ? closed : undefined;
}

function toTool({ name, description, parameters }: ToolDeclaration): object {
  return { type: 'function', function: { name, description, parameters } };
}

function toMessages(
  { system, messages }: Prompt,
  model: string,
  without: ReadonlySet<Parameter>,
): Message[] {
  const instructions: Message[] = system === '' ? [] : [{ role: 'system', content: system }];
  const rest = messages.flatMap((message, i): Message[] => {
    switch (message.role) {
      case 'user':
        return [{ role: 'user', content: userText(message) }];
      case 'assistant':
        return toTurn(message, model, without);
      case 'tool':
        return message.results.map((given) => toReply(given, messages[i - 1]));
    }
  });
  return [...instructions, ...rest];
}

/** A turn without text and calls, such as of an answer that was stopped at once, is left out. */
function toTurn(
  { text, toolCalls = [], raw }: AssistantMessage,
  model: string,
  without: ReadonlySet<Parameter>,
): Message[] {
  if (toolCalls.length === 0) return text === '' ? [] : [{ role: 'assistant', content: text }];
  const isOwn = raw?.provider === 'openai' && raw.model === model;
  const { thoughts = {}, extras = [] } = ((isOwn && raw.parts[0]) || {}) as Partial<RawTurn>;
  return [
    {
      role: 'assistant',
      content: text === '' ? null : text,
      ...(!without.has('reasoning') && thoughts),
      tool_calls: toolCalls.map((call, i) => toOwnCall(call, extras[i])),
    },
  ];
}

function toOwnCall(call: ToolCall, extra: object = {}): object {
  const { name, arguments: args } = call;
  return {
    ...extra,
    id: idOf(call),
    type: 'function',
    // Servers parse it, and refuse what is not an object.
    function: { name, arguments: JSON.stringify(isSchema(args) ? args : {}) },
  };
}

function idOf({ providerId, callId }: ToolCall): string {
  return providerId ?? callId;
}

function toReply(given: ToolResult, before: PromptMessage | undefined): Message {
  const calls = before?.role === 'assistant' ? (before.toolCalls ?? []) : [];
  const call = calls.find(({ callId }) => callId === given.callId);
  return {
    role: 'tool',
    tool_call_id: call === undefined ? given.callId : idOf(call),
    content: contentOf(given),
  };
}

function contentOf(given: ToolResult): string {
  if ('error' in given) return `Error: ${given.error}`;
  return typeof given.result === 'string' ? given.result : JSON.stringify(given.result);
}
