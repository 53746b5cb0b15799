import type {
  ContextMessage,
  ErrorCode,
  FinishReason,
  GenerateOptions,
  Source,
  Timing,
  Usage,
} from '@rivulet/protocol';
import type { ToolCallEntry } from './entry.js';
import type { GenerateRequest } from './request.js';

/** The question of a stream, as both hooks are given it. */
export interface StreamQuestion {
  /**
   * The user's id as `authenticate` gave it. Without `authenticate`, the id that Rivulet gave the browser
   * (`browser:…`) or the connection (`socket:…`).
   */
  principal: string;
  /** Chosen by the client. No other stream of the principal has it at the same time. */
  streamId: string;
  /** The client's own name for the conversation; absent if it gave none. */
  sessionId?: string;
  /** What the client sent, as a copy of the hook's own. */
  request: Omit<GenerateRequest, 'principal'>;
}

export interface PrepareContext extends StreamQuestion {
  /** Aborts when the stream is cancelled, and after 30 s. */
  signal: AbortSignal;
}

/** What `prepare` changes for one answer. What is left out stays as it is. */
export interface PreparedRequest {
  /** The system prompt, instead of `systemPrompt` of the settings. */
  system?: string | undefined;
  /**
   * The model that each provider is asked for, by the provider's name, such as
   * `{ gemini: 'gemini-2.5-pro' }`. A provider that is not named here, or has no `withModel`, is asked for
   * its own model.
   */
  models?: Readonly<Record<string, string>> | undefined;
  /**
   * Messages before the client's context, oldest first. A prompt that is too long for the model loses its
   * oldest messages, so these go first; what must stay belongs in `system`.
   */
  context?: readonly ContextMessage[] | undefined;
  /**
   * The names of the server's tools that the model may call. Unknown names are ignored, and tools of the client
   * are not affected. False for no tool, also none of the client.
   */
  tools?: readonly string[] | false | undefined;
  /**
   * These options are used instead of the client's. `max_tokens` is a limit instead: the lowest of this
   * one, the client's and the setting's applies.
   */
  options?:
    | {
        readonly [Name in 'temperature' | 'top_p' | 'top_k' | 'max_tokens' | 'seed']?:
          | GenerateOptions[Name]
          | undefined;
      }
    | undefined;
}

type Awaitable<T> = T | Promise<T>;

/**
 * Called once for each new stream, before its answer is looked up in the cache or generated. A repeated
 * start of the same stream does not call it again. The stream exists meanwhile, and holds no slot of a
 * provider.
 *
 * @throws {StreamError} to refuse: the readers get its code and message. Any other error, a result that is
 * no `PreparedRequest`, and 30 s without a result end the stream with `internal`; the cause is logged as
 * `LLM_HOOK_FAILED`.
 */
export type Prepare = (context: PrepareContext) => Awaitable<PreparedRequest | undefined | void>;

/** A call of a tool in an answer: with its result or its error, or with neither if it was not finished. */
export type UsedTool = Omit<ToolCallEntry, 'type' | 'awaits' | 'timeoutMs'> & {
  result?: unknown;
  error?: string;
};

/** A stream that has ended. */
export interface EndedStream extends StreamQuestion {
  /** The text of the last attempt, as far as it is in the stream. Empty if there was none. */
  text: string;
  /** The calls of tools, in order. */
  tools: readonly UsedTool[];
  /**
   * Tokens of the answer as the provider counted them, all turns together. Empty if the stream ended
   * with an error: the provider had not counted them yet. Those of a cached answer are the tokens that it
   * took to generate it.
   */
  usage: Usage;
  /** How the stream ended: the finish reason of a complete answer, or an error code. */
  outcome: FinishReason | ErrorCode;
  /** Who gave the last attempt; absent if the stream ended before an attempt began. */
  attempt?: { number: number; source: Source; provider: string; model: string };
  /** As in the `end` entry. A stream that ended with an error has `total_ms` only. */
  timing: Timing;
}

/**
 * Called once for each stream when it has ended, also if nobody reads it, and also if `prepare` refused it.
 * Streams that share a generation have a call each. A drain waits for it. An error, and 30 s without a
 * result, are logged as `LLM_HOOK_FAILED` and change nothing for the readers.
 */
export type OnEnd = (ended: EndedStream) => Awaitable<void>;
