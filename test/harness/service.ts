import {
  createLogger,
  createMetrics,
  createResponseCache,
  LlmService,
  type LlmServiceOptions,
  type Provider,
  type StreamedEntry,
} from '@rivulet/server';
import { providersOf } from './providers.js';

/** The streaming core with nothing around it. */
export function serviceOf(
  providers: Provider | readonly [Provider, ...Provider[]],
  options: Partial<LlmServiceOptions> = {},
): LlmService {
  const [first, ...rest] = 'stream' in providers ? [providers] : providers;
  return new LlmService({
    providers: providersOf(first, ...rest),
    prompt: { systemPrompt: 'Be brief.' },
    cache: createResponseCache({ ttlSeconds: 60, maxBytes: 1_000_000 }),
    limits: { maxResponseUnits: 10_000 },
    logger: createLogger('silent'),
    metrics: createMetrics(),
    ...options,
  });
}

export async function entriesOf(stream: AsyncIterable<StreamedEntry>): Promise<StreamedEntry[]> {
  const entries: StreamedEntry[] = [];
  for await (const entry of stream) entries.push(entry);
  return entries;
}

export function textOf(entries: readonly StreamedEntry[]): string {
  return entries.map((entry) => (entry.type === 'text' ? entry.text : '')).join('');
}
