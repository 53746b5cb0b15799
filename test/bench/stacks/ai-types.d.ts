// The parts of the AI SDK that stacks/ai.ts uses, so that `tsc` needs none of the benchmark's own packages.

declare module 'ai' {
  import type { ServerResponse } from 'node:http';
  import type { ReadableStream } from 'node:stream/web';

  export interface LanguageModel {
    specificationVersion: 'v3';
    provider: string;
    modelId: string;
    supportedUrls: Record<string, RegExp[]>;
    doStream(): Promise<{ stream: ReadableStream<{ type: string }> }>;
  }

  export function streamText(options: {
    model: LanguageModel;
    prompt: string;
    abortSignal: AbortSignal;
    onError(): void;
  }): { pipeUIMessageStreamToResponse(response: ServerResponse): void };

  type Chunk =
    | { type: 'text-delta'; delta: string }
    | { type: 'error'; errorText: string }
    | { type: 'finish' };

  export class DefaultChatTransport {
    constructor(options: { api: string; body: object });
    sendMessages(options: {
      trigger: 'submit-message';
      chatId: string;
      messageId: string | undefined;
      messages: { id: string; role: 'user'; parts: { type: 'text'; text: string }[] }[];
      abortSignal: AbortSignal;
    }): Promise<AsyncIterable<Chunk>>;
  }
}
