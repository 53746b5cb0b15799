import {
  gemini,
  ollama,
  openai,
  type Prompt,
  type Provider,
  resolveSettings,
} from '@rivulet/server';
import { toAddress } from '../../packages/server/src/providers/ollama/address.js';
import { findModel, ollamaVersion } from '../../packages/server/src/providers/ollama/inspect.js';

/** A model server, and how to ask it with and without Rivulet. */
export interface LiveServer {
  name: string;
  provider: Provider;
  /** The server's own answer, not streamed and not read by Rivulet. */
  whole(prompt: Prompt): Promise<string>;
  /** The same server, asked for a model that it does not have. */
  missing: Provider;
  /** The same model with a small context; or why there is none. */
  small: Provider | { leftOut: string };
  /** The reason for leaving out the tools; undefined if they are tried. */
  withoutTools: string | undefined;
}

const MISSING_MODEL = 'no-such-model';
const SMALL_CONTEXT = 512;
const LOOK_MS = 10_000;

/** @throws what is wrong with the Ollama or the model that the environment names. */
export async function liveOllama(): Promise<LiveServer> {
  const { host, model: wanted } = resolveSettings().ollama;
  const version = await ollamaVersion(host, AbortSignal.timeout(LOOK_MS));
  const model = await findModel(host, wanted, AbortSignal.timeout(LOOK_MS));
  if (model === undefined) throw new Error(`it has no model ${wanted ?? 'that can chat'}`);
  const { name, capabilities } = model;
  const { url, headers } = toAddress(host);
  return {
    name: `Ollama ${version} with ${name}`,
    provider: ollama({ host, model: name }),
    async whole({ messages, temperature, seed, maxTokens }) {
      const response = await fetch(`${url.replace(/\/$/, '')}/api/chat`, {
        method: 'POST',
        headers: { ...headers, 'content-type': 'application/json' },
        body: JSON.stringify({
          model: name,
          stream: false,
          messages: messages.map(({ role, ...rest }) => ({
            role,
            content: 'text' in rest ? rest.text : '',
          })),
          options: { temperature, seed, num_predict: maxTokens },
        }),
      });
      const { message } = (await response.json()) as { message: { content: string } };
      return message.content;
    },
    missing: ollama({ host, model: MISSING_MODEL }),
    small: ollama({ host, model: name, numCtx: SMALL_CONTEXT }),
    withoutTools: capabilities.includes('tools') ? undefined : 'the model has no tools',
  };
}

export function liveGemini(apiKey: string): LiveServer {
  const { model, baseUrl } = resolveSettings().gemini;
  const options = { apiKey, ...(baseUrl !== undefined && { baseUrl }) };
  const url = baseUrl ?? 'https://generativelanguage.googleapis.com';
  return {
    name: `Gemini with ${model}`,
    provider: gemini({ ...options, model }),
    async whole({ messages, temperature, seed, maxTokens: maxOutputTokens }) {
      const response = await fetch(`${url}/v1beta/models/${model}:generateContent`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-goog-api-key': apiKey },
        body: JSON.stringify({
          contents: messages.map((message) => ({
            role: message.role === 'user' ? 'user' : 'model',
            parts: [{ text: 'text' in message ? message.text : '' }],
          })),
          generationConfig: { temperature, seed, maxOutputTokens },
        }),
      });
      const { candidates } = (await response.json()) as {
        candidates: [{ content: { parts: { text?: string; thought?: boolean }[] } }];
      };
      const { parts } = candidates[0].content;
      return parts.map(({ text = '', thought }) => (thought === true ? '' : text)).join('');
    },
    missing: gemini({ ...options, model: MISSING_MODEL }),
    small: { leftOut: 'its context is too large to be filled' },
    withoutTools: undefined,
  };
}

/** OpenAI, or the server that speaks its wire at `OPENAI_BASE_URL`. */
export async function liveOpenAi(): Promise<LiveServer> {
  const { apiKey, baseUrl, model: wanted } = resolveSettings().openai;
  const provider = openai({ apiKey, baseUrl, model: wanted });
  await provider.prepare?.();
  const { model } = provider;
  return {
    name: `OpenAI-compatible server with ${model}`,
    provider,
    async whole({ messages, temperature, seed, maxTokens }) {
      const response = await fetch(`${baseUrl ?? 'https://api.openai.com/v1'}/chat/completions`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
        },
        body: JSON.stringify({
          model,
          messages: messages.map(({ role, ...rest }) => ({
            role,
            content: 'text' in rest ? rest.text : '',
          })),
          temperature,
          seed,
          [baseUrl === undefined ? 'max_completion_tokens' : 'max_tokens']: maxTokens,
        }),
      });
      const { choices } = (await response.json()) as {
        choices: [{ message: { content: string } }];
      };
      return choices[0].message.content;
    },
    missing: openai({ apiKey, baseUrl, model: MISSING_MODEL }),
    small: { leftOut: 'its context cannot be made smaller' },
    withoutTools: undefined,
  };
}
