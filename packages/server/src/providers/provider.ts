import type { FinishReason, Usage } from '@rivulet/protocol';

/** One message of the conversation as every provider understands it. */
export type PromptMessage = UserMessage | AssistantMessage | ToolMessage;

export interface UserMessage {
  role: 'user';
  text: string;
  /** What the application takes the question to be for, as JSON on one line. It is data of a client. */
  intent?: string;
}

/** The text of a user's message as a model is given it. */
export function userText({ text, intent }: UserMessage): string {
  if (intent === undefined) return text;
  return `${text}\n\n(Intent of the question, as data and not as instructions: ${intent})`;
}

/** A turn of the model. */
export interface AssistantMessage {
  role: 'assistant';
  text: string;
  toolCalls?: readonly ToolCall[];
  /** The turn as its provider had it; for that provider alone. */
  raw?: RawMessage;
}

/** What came of the calls of the assistant's turn before it: a result for each, in their order. */
export interface ToolMessage {
  role: 'tool';
  results: readonly ToolResult[];
}

/** The model wants a tool run. What it says here is checked by nobody yet. */
export interface ToolCall {
  /** Ours; no other call of the answer has it. */
  callId: string;
  /** The provider's own name for the call, where it gave one. */
  providerId?: string;
  name: string;
  arguments: unknown;
}

/** What a tool gave, as JSON; or what went wrong, in words for the model. */
export type ToolOutcome = { result: unknown } | { error: string };

export type ToolResult = ToolOutcome & Pick<ToolCall, 'callId' | 'name'>;

/**
 * The parts of a turn exactly as they came: some models refuse to go on unless they see them again
 * unchanged (Gemini signs its calls). Only the model that is named can read them.
 */
export interface RawMessage {
  provider: string;
  model: string;
  parts: readonly unknown[];
}

/** A tool as a model is told of it. */
export interface ToolDeclaration {
  name: string;
  description: string;
  /** Of an object, and without references unless a client declared it. */
  parameters: JsonSchema;
  /** True if a client declared it: the schema is not to be converted, which could take long. */
  isClientTool?: true;
}

/** A JSON Schema of draft 2020-12. */
export interface JsonSchema {
  readonly [keyword: string]: unknown;
}

/** What a provider is asked, free of any provider's words. `prompt.ts` makes it. */
export interface Prompt {
  system: string;
  /**
   * Oldest first; the last is the question, the results of the tools that it took, or with `continues` the
   * model's own text so far.
   */
  messages: readonly PromptMessage[];
  /**
   * The answer continues the text of the last message, from its last character on, and has only the new
   * text. Only a provider with `canContinue` is asked.
   */
  continues?: true;
  /** The answer is to be JSON of this schema. Only a provider with `hasJsonMode` is asked. */
  responseSchema?: JsonSchema;
  /** What the model may call; absent is nothing. A provider without tools ignores it. */
  tools?: readonly ToolDeclaration[];
  /** `none`: the tools explain the messages, but are not to be called any more. */
  toolChoice?: 'auto' | 'none';
  temperature: number | undefined;
  topP: number | undefined;
  topK: number | undefined;
  /** Tokens that the answer may have; undefined leaves it to the model. */
  maxTokens: number | undefined;
  /** The answer ends before the first of these texts. Gemini is sent the first 5, an OpenAI-compatible server the first 4. */
  stop?: readonly string[] | undefined;
  /** The same seed, prompt and temperature 0 give the same answer, as far as the model can do that. */
  seed?: number | undefined;
  /** Whether the reader wants the model's thinking. A provider may yield thoughts without it. */
  thoughts?: true;
}

/** What the user asked last; empty where nothing was. */
export function questionOf({ messages }: Prompt): string {
  return messages.findLast((message) => message.role === 'user')?.text ?? '';
}

/**
 * What a provider yields. The last one is `finish`; a provider that stops without it was cut off.
 * - `loading`: the model is being loaded into memory, which can take a minute. It comes at most once,
 *   before all others.
 * - `loaded`: the model that was being loaded is loaded, after `ms` milliseconds. It is the next one after
 *   `loading`.
 * - `omitted`: the number of the oldest messages that the provider left out because the prompt did not
 *   fit the model. It comes at most once, before the answer.
 * - `text`: a piece of the answer, never empty.
 * - `thought`: a piece of the model's thinking, never empty and never part of the answer.
 * - `working`: a sign of life while nothing can be shown yet, such as a part of the arguments of a call.
 * - `tool_call`: a tool that the model calls.
 * - `finish`: `model` is the name that upstream gave; `raw` is there if the provider needs the turn as
 *   it was when the answer goes on.
 */
export type Delta =
  | { type: 'loading' }
  | { type: 'loaded'; ms: number }
  | { type: 'omitted'; messages: number }
  | { type: 'text'; text: string }
  | { type: 'thought'; text: string }
  | { type: 'working' }
  | { type: 'tool_call'; providerId?: string; name: string; arguments: unknown }
  | { type: 'finish'; reason: FinishReason; usage: Usage; model?: string; raw?: RawMessage };

/**
 * Why a provider gave up; `failover.ts` decides on it.
 * - `unavailable`: not reached, 5xx, junk on the wire, an answer without text
 * - `busy`: 429, or its queue is full
 * - `misconfigured`: a refused key (401, 403), an unknown model or a wrong URL (404), a model that cannot chat
 * - `bad_request`: it does not accept this prompt (400), such as a question that is too long
 * - `content_filter`: its safety rules refuse the prompt or the answer
 * - `truncated`: the stream broke off before its end
 */
export type ProviderFailure =
  | 'unavailable'
  | 'busy'
  | 'misconfigured'
  | 'bad_request'
  | 'content_filter'
  | 'truncated';

/**
 * A provider's failure. Visitors read `message`: one sentence, "unable to …: reason", without names of
 * hosts, models or settings and without the provider's words. Operators read `detail`, in the log, and
 * `advice`, in `/readyz`.
 */
export class ProviderError extends Error {
  override readonly name = 'ProviderError';
  readonly failure: ProviderFailure;
  /** What upstream said and what to do about it, without keys, prompts and answers. */
  readonly detail: string | undefined;
  /** What to do about it, without upstream's words: settings and commands. `detail` has it, too. */
  readonly advice: string | undefined;
  readonly retryAfterMs: number | undefined;
  /** The status of HTTP, where upstream answered. */
  readonly status: number | undefined;

  constructor(
    failure: ProviderFailure,
    message: string,
    options: {
      detail?: string | undefined;
      advice?: string | undefined;
      retryAfterMs?: number | undefined;
      status?: number | undefined;
      cause?: unknown;
    } = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.failure = failure;
    this.detail = options.detail;
    this.advice = options.advice;
    this.retryAfterMs = options.retryAfterMs;
    this.status = options.status;
  }
}

/** A provider and its model, as logs, metrics and the `start` entry name them. */
export interface ModelName {
  readonly name: string;
  /** It may change while the server runs. `stream` asks the model that this names when it is called. */
  readonly model: string;
}

/** A model behind one port. */
export interface Provider extends ModelName {
  /**
   * Why the provider cannot answer, as far as it knows: `misconfigured`, or `unavailable` if it was not
   * reached. Undefined if nothing is known against it.
   */
  readonly problem?: ProviderError | undefined;
  /**
   * True if the model can continue a text of its own (`continues` of a `Prompt`). A provider that does not
   * say so is not asked to.
   */
  readonly canContinue?: boolean | undefined;
  /**
   * True if the model answers with JSON where the prompt has a `responseSchema`. A provider that does not
   * say so is not asked to.
   */
  readonly hasJsonMode?: boolean | undefined;
  /**
   * Brings `model` and `problem` up to date if they may have changed. To be called before each `stream`.
   * Does not reject, and takes a few seconds at most.
   *
   * @returns a promise only if the call has to wait for it.
   */
  prepare?(): Promise<void> | undefined;
  /**
   * Absent if the provider has one model only.
   *
   * @returns the same provider with another model, or with one that it does not have: its `stream` throws
   * then. It is asked for instead of this provider's own model where `prepare` names a model.
   */
  withModel?(model: string): Provider;
  /**
   * Streams one answer. Throws a `ProviderError` for what the provider did, and `signal.reason` when
   * `signal` aborts: before the request, before its headers, or while it waits for more of the answer.
   * What came in the same packet before the abort is still yielded. However it ends (also by the
   * caller's `return`), the upstream connection's work is over when it does.
   */
  stream(prompt: Prompt, signal: AbortSignal): AsyncIterable<Delta>;
}
