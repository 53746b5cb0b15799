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

/** The question of a stream, as both hooks receive it. */
export interface StreamQuestion {
  /**
   * The user's id as `authenticate` returned it. Without `authenticate`, the id that Rivulet assigned to the
   * browser (`browser:…`) or the connection (`socket:…`).
   */
  principal: string;
  /** The stream's id, chosen by the client. It is unique among the principal's current streams. */
  streamId: string;
  /** The client's name for the conversation; absent if the client sent none. */
  sessionId?: string;
  /** A copy of the client's request. */
  request: Omit<GenerateRequest, 'principal' | 'fairnessKey'>;
}

export interface PrepareContext extends StreamQuestion {
  /** Aborts when the stream is cancelled, and after 30 s. */
  signal: AbortSignal;
}

/** The changes of `prepare` for one answer. An absent field changes nothing. */
export interface PreparedRequest {
  /** The system prompt, instead of `systemPrompt` of the settings. */
  system?: string | undefined;
  /**
   * The model of each provider, by the provider's name, such as `{ gemini: 'gemini-2.5-pro' }`. A provider
   * that is not listed, or has no `withModel`, uses its own model.
   */
  models?: Readonly<Record<string, string>> | undefined;
  /**
   * Messages before the client's context, oldest first. If a prompt is too long for the model, its oldest
   * messages are left out, these first. Use `system` for text that must stay.
   */
  context?: readonly ContextMessage[] | undefined;
  /**
   * The names of the server's tools that the model may call. Unknown names are ignored, and tools of the
   * client are not affected. False disables all tools, including those of the client.
   */
  tools?: readonly string[] | false | undefined;
  /** False to leave out the tools of the client. */
  clientTools?: false | undefined;
  /** False to leave out the context of the client: the messages before its question. */
  clientContext?: false | undefined;
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
 * Called once for each new stream, before the cache lookup and the generation. A repeated start of the same
 * stream does not call it again. The stream exists while the hook runs, and uses no slot of a provider.
 *
 * @throws {StreamError} to refuse the request: the readers receive its code and message. Any other error, a
 * result that is not a `PreparedRequest`, and 30 s without a result end the stream with `internal`; the cause
 * is logged as `LLM_HOOK_FAILED`.
 */
export type Prepare = (context: PrepareContext) => Awaitable<PreparedRequest | undefined | void>;

/** A tool call of an answer, with its result or its error, or with neither if it did not finish. */
export type UsedTool = Omit<ToolCallEntry, 'type' | 'awaits' | 'timeoutMs'> & {
  result?: unknown;
  error?: string;
};

/** A stream that has ended. */
export interface EndedStream extends StreamQuestion {
  /** The text of the last attempt up to the end of the stream. Empty if there was none. */
  text: string;
  /** The tool calls, in order. */
  tools: readonly UsedTool[];
  /**
   * The tokens of all calls for the answer, as the provider counted them: those of tool turns and of failed
   * attempts, too. If the stream ended with an error, the call that was in progress is missing, because the
   * provider had not reported its tokens yet. A cached answer has the tokens of its generation.
   */
  usage: Usage;
  /** The outcome of the stream: the finish reason of a complete answer, or an error code. */
  outcome: FinishReason | ErrorCode;
  /**
   * The source, provider and model of the last attempt; absent if the stream ended before an attempt began.
   */
  attempt?: { number: number; source: Source; provider: string; model: string };
  /** The timing of the `end` entry. A stream that ended with an error has only `total_ms`. */
  timing: Timing;
}

/**
 * Called once for each stream when it has ended, even without a reader, and even if `prepare` refused it.
 * Streams that share a generation have separate calls. A drain waits for the calls. An error, and 30 s
 * without a result, are logged as `LLM_HOOK_FAILED` and change nothing for the readers.
 */
export type OnEnd = (ended: EndedStream) => Awaitable<void>;
