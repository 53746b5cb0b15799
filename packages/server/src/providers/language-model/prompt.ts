import {
  type AssistantMessage,
  type Prompt,
  type PromptMessage,
  type ToolCall,
  type ToolMessage,
  type ToolResult,
  userText,
} from '../provider.js';
import type { CallOptions, Message, Metadata, TurnPart } from './model.js';

/** The provider and model, as in `RawMessage`. */
export interface ModelRef {
  name: string;
  model: string;
}

export function toCallOptions(
  prompt: Prompt,
  modelRef: ModelRef,
  providerOptions: Metadata | undefined,
  abortSignal: AbortSignal,
): CallOptions {
  const { system, messages, tools = [], toolChoice = 'auto', stop = [] } = prompt;
  const instructions: Message[] = system === '' ? [] : [{ role: 'system', content: system }];
  return {
    prompt: [
      ...instructions,
      ...messages.flatMap((message, i) => toMessage(message, messages[i - 1], modelRef)),
    ],
    ...(prompt.maxTokens !== undefined && { maxOutputTokens: prompt.maxTokens }),
    ...(prompt.temperature !== undefined && { temperature: prompt.temperature }),
    ...(prompt.topP !== undefined && { topP: prompt.topP }),
    ...(prompt.topK !== undefined && { topK: prompt.topK }),
    ...(stop.length > 0 && { stopSequences: [...stop] }),
    ...(prompt.seed !== undefined && { seed: prompt.seed }),
    ...(tools.length > 0 && {
      tools: tools.map(({ name, description, parameters }) => ({
        type: 'function',
        name,
        description,
        inputSchema: parameters,
      })),
      toolChoice: { type: toolChoice },
    }),
    ...(prompt.responseSchema !== undefined && {
      responseFormat: { type: 'json', schema: prompt.responseSchema },
    }),
    ...(providerOptions !== undefined && { providerOptions }),
    abortSignal,
  };
}

/** Leaves out a turn without text and calls, such as an answer that was stopped at once. */
function toMessage(
  message: PromptMessage,
  before: PromptMessage | undefined,
  modelRef: ModelRef,
): Message[] {
  switch (message.role) {
    case 'user':
      return [{ role: 'user', content: [{ type: 'text', text: userText(message) }] }];
    case 'assistant': {
      const content = ownParts(message, modelRef) ?? toParts(message);
      return content.length === 0 ? [] : [{ role: 'assistant', content }];
    }
    case 'tool':
      return [toResults(message, before)];
  }
}

function ownParts({ raw }: AssistantMessage, { name, model }: ModelRef): TurnPart[] | undefined {
  if (raw?.provider !== name || raw.model !== model) return undefined;
  return [...raw.parts] as TurnPart[];
}

function toParts({ text, toolCalls = [] }: AssistantMessage): TurnPart[] {
  const said: TurnPart[] = text === '' ? [] : [{ type: 'text', text }];
  return [
    ...said,
    ...toolCalls.map((call): TurnPart => ({
      type: 'tool-call',
      toolCallId: idOf(call),
      toolName: call.name,
      input: call.arguments ?? {},
    })),
  ];
}

function idOf({ providerId, callId }: ToolCall): string {
  return providerId ?? callId;
}

function toResults({ results }: ToolMessage, before: PromptMessage | undefined): Message {
  const calls = before?.role === 'assistant' ? (before.toolCalls ?? []) : [];
  return {
    role: 'tool',
    content: results.map((given) => {
      const call = calls.find(({ callId }) => callId === given.callId);
      return {
        type: 'tool-result',
        toolCallId: call === undefined ? given.callId : idOf(call),
        toolName: given.name,
        output: toOutput(given),
      };
    }),
  };
}

function toOutput(given: ToolResult): { type: 'text' | 'json' | 'error-text'; value: unknown } {
  if ('error' in given) return { type: 'error-text', value: given.error };
  const { result } = given;
  return typeof result === 'string'
    ? { type: 'text', value: result }
    : { type: 'json', value: result ?? null };
}
