import { notUnderstood } from '../failure.js';
import { isSchema } from '../json-schema.js';
import { ProviderError } from '../provider.js';
import { type OpenAiServer, send } from './client.js';
import { explainRefusal, OPENAI_ADVICE } from './errors.js';

/** A list has no capabilities. */
const NO_CHAT = /embed|bert|bge-|rerank|whisper|tts|moderation|dall-e|image|transcribe/i;

/**
 * The models of a server that may be able to chat, in the server's order.
 *
 * @throws {ProviderError} the server was not reached, or gives no list.
 * @throws `signal.reason` when it aborts.
 */
export async function chatModels(server: OpenAiServer, signal: AbortSignal): Promise<string[]> {
  const { apiKey } = server;
  try {
    const { data } = await send(
      server,
      signal,
      (response) => explainRefusal(response, { apiKey, prompt: { system: '', messages: [] } }),
      (client) => client.models.list(),
    );
    const listed: unknown[] = data;
    return listed.flatMap((model) =>
      isSchema(model) && canChat(model) ? String(model['id']) : [],
    );
  } catch (error) {
    signal.throwIfAborted();
    throw error instanceof ProviderError ? error : notUnderstood('openai', OPENAI_ADVICE);
  }
}

/** LiteLLM tells the mode of some of its models. */
function canChat({ id, mode }: Readonly<Record<string, unknown>>): boolean {
  if (typeof id !== 'string' || id === '') return false;
  return mode === undefined ? !NO_CHAT.test(id) : mode === 'chat';
}
