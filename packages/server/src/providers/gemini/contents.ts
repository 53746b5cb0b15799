import {
  type AssistantMessage,
  type PromptMessage,
  type ToolMessage,
  type ToolResult,
  userText,
} from '../provider.js';

/** A part on the wire. Parts of other kinds are passed on unchanged. */
export interface Part {
  text?: string;
  thought?: boolean;
  functionCall?: { id?: string; name?: string; args?: unknown };
  functionResponse?: { id?: string; name: string; response: object };
}

export interface Content {
  role: 'user' | 'model';
  parts: Part[];
}

/**
 * Converts the conversation to Gemini's format. A turn of the same `model` is sent back part by part,
 * unchanged: the parts are signed, and Gemini refuses a call without its signature. Turns without text, such
 * as an answer that was stopped before its first text, are left out, because Gemini refuses them.
 */
export function toContents(messages: readonly PromptMessage[], model: string): Content[] {
  return messages.flatMap((message, i) => {
    switch (message.role) {
      case 'user':
        return toTextContent('user', userText(message));
      case 'assistant':
        return toModelContent(message, model);
      case 'tool':
        return toResponses(message, messages[i - 1], model);
    }
  });
}

function toTextContent(role: Content['role'], text: string): Content[] {
  return text.trim() === '' ? [] : [{ role, parts: [{ text }] }];
}

function toModelContent(message: AssistantMessage, model: string): Content[] {
  const own = ownParts(message, model);
  return own === undefined
    ? toTextContent('model', message.text)
    : [{ role: 'model', parts: own.filter((part) => !isEmpty(part)) }];
}

/** @returns true for a part with only an empty text, and without a signature. */
function isEmpty(part: Part): boolean {
  return !part.text && Object.keys(part).every((key) => key === 'text' || key === 'thought');
}

function ownParts({ raw }: AssistantMessage, model: string): Part[] | undefined {
  if (raw?.provider !== 'gemini' || raw.model !== model) return undefined;
  return [...raw.parts] as Part[];
}

function toResponses(
  { results }: ToolMessage,
  before: PromptMessage | undefined,
  model: string,
): Content {
  const turn = before?.role === 'assistant' ? before : undefined;
  const isOwn = turn !== undefined && ownParts(turn, model) !== undefined;
  const toPart = isOwn ? toResponse : toTextPart;
  return { role: 'user', parts: results.map((result) => toPart(result, turn)) };
}

function toResponse(given: ToolResult, turn: AssistantMessage | undefined): Part {
  const id = callOf(given, turn)?.providerId;
  const response = 'error' in given ? { error: given.error } : { output: given.result };
  return { functionResponse: { ...(id !== undefined && { id }), name: given.name, response } };
}

/** Describes the call of another model as text. Without a signature, Gemini would refuse it as a call. */
function toTextPart(given: ToolResult, turn: AssistantMessage | undefined): Part {
  const asked = JSON.stringify(callOf(given, turn)?.arguments ?? {});
  const came = 'error' in given ? `failed: ${given.error}` : `gave ${JSON.stringify(given.result)}`;
  return { text: `The tool ${given.name}, called with ${asked}, ${came}` };
}

function callOf({ callId }: ToolResult, turn: AssistantMessage | undefined) {
  return turn?.toolCalls?.find((call) => call.callId === callId);
}
