import type { Message, Tool } from 'ollama';
import { isSchema } from '../json-schema.js';
import {
  type AssistantMessage,
  type Prompt,
  type PromptMessage,
  type ToolCall,
  type ToolDeclaration,
  type ToolResult,
  userText,
} from '../provider.js';

/** Converts the system text and the conversation to Ollama's format. */
export function toMessages({ system, messages }: Prompt): Message[] {
  const instructions = system === '' ? [] : [{ role: 'system', content: system }];
  return [...instructions, ...messages.flatMap((message, i) => toOwn(message, messages[i - 1]))];
}

function toOwn(message: PromptMessage, before: PromptMessage | undefined): Message[] {
  switch (message.role) {
    case 'user':
      return [{ role: 'user', content: userText(message) }];
    case 'assistant':
      return [toTurn(message)];
    case 'tool':
      return message.results.map((given) => toReply(given, before));
  }
}

/** Copies known fields only: the client would read the files that `images` names from the disk. */
function toTurn({ text, toolCalls = [], raw }: AssistantMessage): Message {
  const thinking = raw?.provider === 'ollama' ? raw.parts.join('') : '';
  return {
    role: 'assistant',
    content: text,
    ...(thinking !== '' && { thinking }),
    ...(toolCalls.length > 0 && { tool_calls: toolCalls.map(toOwnCall) }),
  };
}

function toOwnCall({ providerId, name, arguments: args }: ToolCall) {
  return {
    ...(providerId !== undefined && { id: providerId }),
    // Ollama accepts only an object here.
    function: { name, arguments: isSchema(args) ? { ...args } : {} },
  };
}

function toReply(given: ToolResult, before: PromptMessage | undefined): Message {
  const calls = before?.role === 'assistant' ? (before.toolCalls ?? []) : [];
  const id = calls.find(({ callId }) => callId === given.callId)?.providerId;
  return {
    role: 'tool',
    content: contentOf(given),
    tool_name: given.name,
    ...(id !== undefined && { tool_call_id: id }),
  };
}

function contentOf(given: ToolResult): string {
  if ('error' in given) return `Error: ${given.error}`;
  return typeof given.result === 'string' ? given.result : JSON.stringify(given.result);
}

export function toTools(declarations: readonly ToolDeclaration[]): Tool[] {
  return declarations.map((declaration) => ({
    type: 'function',
    // The client's type lists a few keywords. The server accepts any.
    function: declaration as Tool['function'],
  }));
}
