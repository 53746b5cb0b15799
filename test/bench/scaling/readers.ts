import { type Answer, type Client, createClient } from '@rivulet/client';
import { filter, firstValueFrom } from 'rxjs';
import { monotonicMs } from '../../chaos/messages.js';
import { percentile } from '../statistics.js';
import type { FromReaders, Reading, ToReaders } from './messages.js';

// All clients: each has up to 20 streams.

const STREAMS_PER_CLIENT = 20;
const clients: Client[] = [];

const say = (message: FromReaders): void => void process.send?.(message);

async function connect(url: string, browserId: string): Promise<Client> {
  const client = createClient({ url, cache: false, browserId, transports: ['websocket'] });
  clients.push(client);
  client.active$.subscribe();
  await firstValueFrom(client.connection$.pipe(filter(({ status }) => status === 'connected')));
  return client;
}

/** @returns false if the text is not `tokens` times, in their order. */
async function take(answer: Answer, tokens: number, latenciesMs: number[]): Promise<boolean> {
  answer.events$.subscribe({
    next(event) {
      if (event.type !== 'text') return;
      const now = monotonicMs();
      for (const at of event.text.trim().split(' ')) latenciesMs.push(now - Number(at));
    },
    error() {},
  });
  const { text } = await answer.result.catch(() => answer.getSnapshot());
  const times = text.trim().split(' ').map(Number);
  return times.length === tokens && times.every((at, i) => i === 0 || at >= times[i - 1]!);
}

async function read({ streams, tokens, everyMs, askUrls, readUrl }: Reading): Promise<void> {
  const count = Math.ceil(streams / STREAMS_PER_CLIENT);
  const pairs: { asker: Client; reader: Client | undefined }[] = [];
  for (let i = 0; i < count; i++) {
    const browserId = `the-browser-of-reader-number-${crypto.randomUUID()}`;
    const asker = await connect(askUrls[i % askUrls.length]!, browserId);
    const reader = readUrl === undefined ? undefined : await connect(readUrl, browserId);
    pairs.push({ asker, reader });
  }
  const latenciesMs: number[] = [];
  const results = await Promise.all(
    Array.from({ length: streams }, async (_, i) => {
      const { asker, reader } = pairs[i % count]!;
      const answer = asker.start({
        query: `times ${tokens} ${everyMs} ${crypto.randomUUID()}`,
        options: { cache: 'no-store' },
      });
      if (reader === undefined) return take(answer, tokens, latenciesMs);
      await firstValueFrom(answer.state$.pipe(filter(({ text }) => text !== '')));
      // Text that arrives after a reconnect also counts as late. It is a small part.
      const [isRight] = await Promise.all([
        take(reader.resume(answer.id), tokens, latenciesMs),
        answer.result,
      ]);
      return isRight;
    }),
  );
  const wrong = results.filter((isRight) => !isRight).length;
  const [p50, p99] = [percentile(latenciesMs, 0.5), percentile(latenciesMs, 0.99)];
  say({ type: 'read', p50, p99, wrong });
}

async function ask(url: string, times: number): Promise<void> {
  const client = await connect(url, `the-browser-of-the-one-that-asks`);
  const firstMs: number[] = [];
  for (let i = 0; i < times; i++) {
    const startedAt = performance.now();
    const answer = client.start({ query: `times 1 0 ${i}`, options: { cache: 'no-store' } });
    await firstValueFrom(answer.state$.pipe(filter(({ text }) => text !== '')));
    firstMs.push(performance.now() - startedAt);
    await answer.result;
  }
  say({ type: 'asked', p50: percentile(firstMs, 0.5), p99: percentile(firstMs, 0.99) });
}

async function carryOut(message: ToReaders): Promise<void> {
  if (message.type === 'ask') await ask(message.url, message.times);
  else await read(message);
  for (const client of clients.splice(0)) client.close();
}

process.on('message', (message: ToReaders) => void carryOut(message));
process.on('disconnect', () => process.exit());
