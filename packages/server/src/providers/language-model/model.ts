/**
 * A model of the AI SDK: the result of `google('gemini-2.5-flash')` of `@ai-sdk/google`, and of every other
 * provider package. `v2` is AI SDK 5, `v3` is 6, `v4` is 7. Rivulet does not depend on the packages: this
 * type has the part of theirs that Rivulet uses.
 */
export interface AiSdkModel {
  readonly specificationVersion: 'v2' | 'v3' | 'v4';
  /** The provider's id, such as `google.generative-ai`. */
  readonly provider: string;
  readonly modelId: string;
  /** Called with `CallOptions`, which every version accepts. */
  doStream(options: never): PromiseLike<{ stream: PartStream }>;
}

/** A `ReadableStream` of parts. */
interface PartStream {
  getReader(): PartReader;
}

export interface PartReader {
  read(): Promise<{ done: boolean; value?: unknown }>;
  cancel(reason?: unknown): Promise<void>;
}

/** Data of a part for its own provider, which is sent back with the part, such as a signature. */
export type Metadata = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** The parts of a model's turn in a prompt. */
export type TurnPart =
  | { type: 'text' | 'reasoning'; text: string; providerOptions?: Metadata | undefined }
  | {
      type: 'tool-call';
      toolCallId: string;
      toolName: string;
      input: unknown;
      providerOptions?: Metadata | undefined;
    };

export type Message =
  | { role: 'system'; content: string }
  | { role: 'user'; content: [{ type: 'text'; text: string }] }
  | { role: 'assistant'; content: readonly TurnPart[] }
  | {
      role: 'tool';
      content: {
        type: 'tool-result';
        toolCallId: string;
        toolName: string;
        output: { type: 'text' | 'json' | 'error-text'; value: unknown };
      }[];
    };

export interface CallOptions {
  prompt: Message[];
  maxOutputTokens?: number;
  temperature?: number;
  topP?: number;
  topK?: number;
  stopSequences?: string[];
  seed?: number;
  tools?: { type: 'function'; name: string; description: string; inputSchema: unknown }[];
  toolChoice?: { type: 'auto' | 'none' };
  responseFormat?: { type: 'json'; schema: unknown };
  providerOptions?: Metadata;
  abortSignal: AbortSignal;
}

/** A part of a stream, of any version. There are other kinds of parts, too. */
export type StreamPart =
  | { type: 'stream-start'; warnings?: Warning[] }
  | { type: 'response-metadata'; modelId?: string }
  | { type: `${'text' | 'reasoning'}-${'start' | 'end'}`; id: string; providerMetadata?: Metadata }
  | {
      type: `${'text' | 'reasoning'}-delta`;
      id: string;
      delta?: string;
      providerMetadata?: Metadata;
    }
  | { type: `tool-input-${'start' | 'delta' | 'end'}` }
  | {
      type: 'tool-call';
      toolCallId: string;
      toolName: string;
      /** JSON. */
      input: string;
      providerExecuted?: boolean;
      providerMetadata?: Metadata;
    }
  | { type: 'error'; error: unknown }
  | { type: 'finish'; finishReason: WireFinish; usage?: WireUsage };

/** A string in `v2`. */
type WireFinish = string | { unified: string; raw?: string | undefined };

interface WireUsage {
  inputTokens?: WireCount;
  outputTokens?: WireCount;
}

/** A number in `v2`. */
type WireCount = number | { total?: number | undefined } | undefined;

/** A warning of a package, such as an option that it does not support. */
export interface Warning {
  type: unknown;
  /** Only in `v2`. */
  setting?: unknown;
  /** Only in `v3` and `v4`. */
  feature?: unknown;
  tool?: { name?: unknown };
  details?: unknown;
  message?: unknown;
}
