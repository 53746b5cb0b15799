import type { StreamStartRequest } from '@rivulet/protocol';
import { sha256 } from '../digest.js';

/**
 * What decides an answer: the server, the question, its history and intent, the generation options.
 * Where there is no SHA-256 the canonical text itself is the key.
 */
export async function cacheKey(
  url: string,
  { query, context, intent, options }: StreamStartRequest,
): Promise<string> {
  const turns = context?.map(({ role, content }) => [role, content]) ?? [];
  const parameters = Object.entries(intent?.parameters ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  const { temperature, top_p, top_k, max_tokens, stop, seed } = options ?? {};
  const parts = [
    url,
    query,
    turns,
    intent?.name,
    parameters,
    temperature,
    top_p,
    top_k,
    max_tokens,
    stop,
    seed,
  ];
  const canonical = JSON.stringify(parts.map((part) => part ?? null));
  return (await sha256(canonical)) ?? canonical;
}
