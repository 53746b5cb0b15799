import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { tokenAt } from '../tokens/text.js';
import type { StreamRequest } from '../tokens/upstream.js';
import { answerCalls } from './remote.js';

// A model as fast as loopback is, with the APIs of Ollama and Gemini: a line or an event for each token.

interface OllamaBody {
  messages: { role: string; content: string }[];
}

interface GeminiBody {
  contents: { parts: { text: string }[] }[];
}

/** The timing of an API's answer. */
interface Wire {
  contentType: string;
  token(text: string): string;
  end: string;
}

const createdAt = new Date().toISOString();
const ollamaLine = (content: string, rest: object): string =>
  `${JSON.stringify({ model: 'bench', created_at: createdAt, message: { role: 'assistant', content }, ...rest })}\n`;
const OLLAMA: Wire = {
  contentType: 'application/x-ndjson',
  token: (text) => ollamaLine(text, { done: false }),
  end: ollamaLine('', { done: true, done_reason: 'stop', prompt_eval_count: 26, eval_count: 1 }),
};

const geminiEvent = (text: string, rest: object): string => {
  const candidate = { content: { parts: [{ text }], role: 'model' }, index: 0, ...rest };
  const usageMetadata = { promptTokenCount: 8, candidatesTokenCount: 1, totalTokenCount: 9 };
  const body = { candidates: [candidate], usageMetadata, modelVersion: 'bench' };
  return `data: ${JSON.stringify(body)}\r\n\r\n`;
};
const GEMINI: Wire = {
  contentType: 'text/event-stream',
  token: (text) => geminiEvent(text, {}),
  end: geminiEvent('', { finishReason: 'STOP' }),
};

async function answer(body: OllamaBody | GeminiBody, response: ServerResponse): Promise<void> {
  const [wire, question] =
    'messages' in body
      ? [OLLAMA, body.messages.at(-1)?.content]
      : [GEMINI, body.contents.at(-1)?.parts[0]?.text];
  const { request } = JSON.parse(question ?? '') as { request: StreamRequest };
  response.writeHead(200, { 'content-type': wire.contentType });
  for (let i = 0; i < request.tokens; i++) {
    if (i > 0 && i % request.burst === 0) await nextTurn();
    const hasRoom = response.write(wire.token(tokenAt(i)));
    if (!hasRoom) await once(response, 'drain');
  }
  response.end(wire.end);
}

const commands = {
  /** Listens on a free port, and returns the URL. */
  async serve(): Promise<string> {
    const server = createServer((request, response) => {
      // Rivulet also asks for an Ollama's version and models.
      if (!/chat|GenerateContent/.test(request.url ?? '')) response.writeHead(404).end();
      else void json(request).then((body) => answer(body as OllamaBody | GeminiBody, response));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  },
};
export type ModelCommands = typeof commands;

answerCalls(commands);
