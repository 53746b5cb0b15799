import { Ollama } from 'ollama';
import type { TokenSource } from './upstream.js';

/** Relays an Ollama by its own npm client, as a server without Rivulet does. */
export function ollamaTokens(host: string): TokenSource {
  const ollama = new Ollama({ host });
  return async function* (request) {
    const messages = [{ role: 'user', content: JSON.stringify({ request }) }];
    const parts = await ollama.chat({ model: 'bench', messages, stream: true });
    for await (const { message } of parts) if (message.content !== '') yield message.content;
  };
}
