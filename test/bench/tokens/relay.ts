import { GoogleGenerativeAI } from '@google/generative-ai';
import { Ollama } from 'ollama';
import type { Model } from '../stacks/stack.js';
import type { TokenSource } from './upstream.js';

/** Relays a model by its own npm client, as a server without Rivulet does. */
export function relay({ api, url }: Model): TokenSource {
  return api === 'ollama' ? ollamaTokens(url) : geminiTokens(url);
}

function ollamaTokens(host: string): TokenSource {
  const ollama = new Ollama({ host });
  return async function* (request) {
    const messages = [{ role: 'user', content: JSON.stringify({ request }) }];
    const parts = await ollama.chat({ model: 'bench', messages, stream: true });
    for await (const { message } of parts) if (message.content !== '') yield message.content;
  };
}

function geminiTokens(baseUrl: string): TokenSource {
  const model = new GoogleGenerativeAI('key').getGenerativeModel({ model: 'bench' }, { baseUrl });
  return async function* (request) {
    const contents = [{ role: 'user', parts: [{ text: JSON.stringify({ request }) }] }];
    const { stream } = await model.generateContentStream({ contents });
    for await (const part of stream) {
      const text = part.text();
      if (text !== '') yield text;
    }
  };
}
