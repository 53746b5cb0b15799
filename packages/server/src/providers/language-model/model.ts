/**
 * A model of the AI SDK: what `google('gemini-2.5-flash')` of `@ai-sdk/google` returns, and every other
 * provider package. `v2` is of AI SDK 5, `v3` of 6, `v4` of 7. The packages are not needed here: this is
 * the part of their types that is used.
 */
export interface AiSdkModel {
  readonly specificationVersion: 'v2' | 'v3' | 'v4';
  /** Such as `google.generative-ai`. */
  readonly provider: string;
  readonly modelId: string;
  /** Called with `CallOptions`, which every version takes. */
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

/** What is said of a part to its own provider, and given back with it, such as a signature. */
export type Metadata = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** The parts of a turn of the model, as a prompt has them. */
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

/** A part of a stream, of any version. Other parts than these exist. */
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

/** `v2` has text here. */
type WireFinish = string | { unified: string; raw?: string | undefined };

interface WireUsage {
  inputTokens?: WireCount;
  outputTokens?: WireCount;
}

/** `v2` has a number here. */
type WireCount = number | { total?: number | undefined } | undefined;

/** What a package says of a call that it makes otherwise than asked. */
export interface Warning {
  type: unknown;
  /** Of `v2`. */
  setting?: unknown;
  /** Of `v3` and `v4`. */
  feature?: unknown;
  tool?: { name?: unknown };
  details?: unknown;
  message?: unknown;
}
