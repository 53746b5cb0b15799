import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { ReadableStream } from 'node:stream/web';
import { DefaultChatTransport, type LanguageModel, streamText } from 'ai';
import type { StreamRequest, TokenSource } from '../tokens/upstream.js';
import type { Connection, ServeOptions } from './stack.js';

// The AI SDK as its users get it: `streamText` piped to a response, and its own transport, which parses and
// checks each chunk. The state of a chat on top of it, such as that of `useChat`, is not part of this.

const KEEP_ALIVE_MS = 120_000;

interface Body {
  request: StreamRequest;
}

export async function serve({ tokens }: ServeOptions): Promise<number> {
  const answer = ({ request }: Body, response: ServerResponse): void => {
    const stopped = new AbortController();
    response.on('close', () => stopped.abort());
    const result = streamText({
      model: modelOf(tokens, request),
      prompt: 'question',
      abortSignal: stopped.signal,
      onError() {},
    });
    result.pipeUIMessageStreamToResponse(response);
  };
  const server = createServer((request, response) => {
    void text(request).then((body) => answer(JSON.parse(body) as Body, response));
  });
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** A provider's model, whose stream is pulled. */
function modelOf(tokens: TokenSource, request: StreamRequest): LanguageModel {
  const id = '1';
  async function* parts() {
    yield { type: 'stream-start', warnings: [] };
    yield { type: 'text-start', id };
    for await (const delta of tokens(request)) yield { type: 'text-delta', id, delta };
    yield { type: 'text-end', id };
    yield {
      type: 'finish',
      finishReason: { unified: 'stop', raw: 'stop' },
      usage: {
        inputTokens: { total: 1, noCache: 1, cacheRead: 0, cacheWrite: 0 },
        outputTokens: { total: 1, text: 1, reasoning: 0 },
      },
    };
  }
  return {
    specificationVersion: 'v3',
    provider: 'bench',
    modelId: 'script',
    supportedUrls: {},
    async doStream() {
      return { stream: ReadableStream.from(parts()) };
    },
  };
}

export async function connect(url: string): Promise<Connection> {
  const closed = new AbortController();
  return {
    async stream(request, onText) {
      const transport = new DefaultChatTransport({ api: url, body: { request } satisfies Body });
      const stream = await transport.sendMessages({
        trigger: 'submit-message',
        chatId: 'chat',
        messageId: undefined,
        messages: [{ id: 'm', role: 'user', parts: [{ type: 'text', text: 'question' }] }],
        abortSignal: closed.signal,
      });
      for await (const chunk of stream) {
        if (chunk.type === 'text-delta') onText(chunk.delta);
        if (chunk.type === 'error') throw new Error(chunk.errorText);
      }
    },
    close: () => closed.abort(),
  };
}
