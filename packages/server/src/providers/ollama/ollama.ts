import type { ChatRequest } from 'ollama';
import type { Response } from '../http.js';
import type { Prompt, Provider } from '../provider.js';
import { quote, textsOf } from '../quote.js';
import { type ProviderApi, streamAnswer } from '../stream-answer.js';
import { toAddress } from './address.js';
import { createOllamaParser } from './answer.js';
import { connect } from './client.js';
import { LacksError, OLLAMA_ADVICE, refusedAnswer } from './errors.js';
import { toMessages, toTools } from './messages.js';

export { ollamaModels } from './inspect.js';

export interface OllamaOptions {
  /** As `OLLAMA_HOST` has it: a URL, or a host with or without port. */
  host: string;
  model: string;
  /** Tokens that the prompt and the answer may have together; the model's own setting unless given. */
  numCtx?: number | undefined;
  /** How long Ollama keeps the model in memory after an answer, such as `10m`, or seconds. */
  keepAlive?: string | number | undefined;
}

type Lacking = LacksError['lacks'];

/**
 * A model that runs on a machine of the operator. One without tools or thinking is asked without them.
 *
 * @throws {TypeError} `host` is not an address.
 */
export function ollama(options: OllamaOptions): Provider {
  const { model } = options;
  const address = toAddress(options.host);
  const lacking = new Set<Lacking>();

  /** The client makes the request; its reader stays unused, since it skips lines that are not JSON. */
  async function send(
    request: ChatRequest & { stream: true },
    prompt: Prompt,
    signal: AbortSignal,
  ) {
    let answer: Response | undefined;
    const refuse = (response: Response) => refusedAnswer(response, model, prompt);
    const client = connect(address, signal, refuse, (response) => (answer = response));
    await client.chat(request);
    if (answer === undefined) throw new Error('the Ollama client made no request');
    return answer;
  }

  const api: ProviderApi = {
    name: 'ollama',
    advice: OLLAMA_ADVICE,
    async ask(prompt, signal) {
      const without = new Set(lacking);
      for (;;) {
        try {
          return await send(toRequest(prompt, options, without), prompt, signal);
        } catch (error) {
          if (!(error instanceof LacksError) || without.has(error.lacks)) throw error;
          without.add(error.lacks);
          lacking.add(error.lacks);
        }
      }
    },
    createParser: (prompt) =>
      createOllamaParser({
        model,
        hasTools: (prompt.tools ?? []).length > 0,
        quoted: (words) => quote(words, textsOf(prompt)),
      }),
  };
  return {
    name: 'ollama',
    model,
    stream: (prompt, signal) => streamAnswer(api, prompt, signal),
  };
}

/** The client's type is older than `truncate` and `shift`. Without them, Ollama cuts what does not fit. */
function toRequest(
  prompt: Prompt,
  { model, numCtx, keepAlive }: OllamaOptions,
  without: ReadonlySet<Lacking>,
): ChatRequest & { stream: true; truncate: false; shift: false } {
  const { tools = [], toolChoice, stop = [] } = prompt;
  const offersTools = tools.length > 0 && toolChoice !== 'none' && !without.has('tools');
  return {
    model,
    stream: true,
    truncate: false,
    shift: false,
    ...(keepAlive !== undefined && { keep_alive: keepAlive }),
    ...(prompt.thoughts && !without.has('thinking') && { think: true }),
    messages: toMessages(prompt),
    ...(offersTools && { tools: toTools(tools) }),
    options: {
      ...(prompt.temperature !== undefined && { temperature: prompt.temperature }),
      ...(prompt.topP !== undefined && { top_p: prompt.topP }),
      ...(prompt.topK !== undefined && { top_k: prompt.topK }),
      ...(prompt.maxTokens !== undefined && { num_predict: prompt.maxTokens }),
      ...(stop.length > 0 && { stop: [...stop] }),
      ...(prompt.seed !== undefined && { seed: prompt.seed }),
      ...(numCtx !== undefined && { num_ctx: numCtx }),
    },
  };
}
