import { type Answer, createClient } from '@rivulet/client';
import {
  createLogger,
  createServer,
  type Delta,
  gemini,
  ollama,
  type Provider,
  questionOf,
} from '@rivulet/server';
import { filter, firstValueFrom } from 'rxjs';
import { script, type StreamRequest } from '../tokens/upstream.js';
import type { ConnectOptions, Connection, ServeOptions } from './stack.js';

// Rivulet as its users get it: the whole server and the client, with nothing turned off but the caches.

const MANY = 1_000_000;
const FINISH: Delta = { type: 'finish', reason: 'stop', usage: {} };
const DEADLINES = { firstChunkMs: 120_000, stallMs: 120_000, totalMs: 300_000 };

export async function serve(options: ServeOptions): Promise<number> {
  const { retentionMs, oneUser = false, cache = false } = options;
  const server = await createServer({
    env: {},
    host: '127.0.0.1',
    port: 0,
    logger: createLogger('silent'),
    cache: { enabled: cache },
    providers: [{ provider: providerOf(options), deadlines: DEADLINES }],
    // All clients have one address here.
    rateLimit: { requests: MANY },
    limits: {
      maxConnections: MANY,
      maxConnectionsPerAddress: MANY,
      maxConnectionsPerPrincipal: MANY,
      maxHandshakesPerAddress: MANY,
      maxMessagesPerSecond: MANY,
      maxStreamsPerPrincipal: MANY,
      maxLogBytes: 2 ** 30,
      ...(retentionMs !== undefined && { finishedRetentionMs: retentionMs }),
    },
    ...(oneUser && { authenticate: () => ({ principal: 'user' }) }),
  });
  return Number(new URL(await server.listen()).port);
}

function providerOf({ model }: ServeOptions): Provider {
  switch (model?.api) {
    case 'ollama':
      return ollama({ host: model.url, model: 'bench' });
    case 'gemini':
      return gemini({ apiKey: 'key', model: 'bench', baseUrl: model.url });
    case undefined:
      return scriptedProvider;
  }
}

const scriptedProvider: Provider = {
  name: 'bench',
  model: 'script',
  stream(prompt) {
    const { request } = JSON.parse(questionOf(prompt)) as Question;
    return script<Delta>(request, (text) => ({ type: 'text', text }), FINISH);
  },
};

interface Question {
  request: StreamRequest;
}

/** The ids of the watched answers of this process. */
const watched = new Map<number, string>();

export async function connect(url: string, { oneUser }: ConnectOptions): Promise<Connection> {
  const client = createClient({ url, cache: false, ...(oneUser && { auth: () => 'token' }) });
  // It connects when it is first needed.
  client.active$.subscribe();
  await firstValueFrom(client.connection$.pipe(filter(({ status }) => status === 'connected')));
  return {
    stream(request, onText) {
      const answer = client.start({ query: JSON.stringify({ request } satisfies Question) });
      if (request.watched) watched.set(request.id, answer.id);
      return read(answer, onText);
    },
    watch: (request, onText) => read(client.resume(watched.get(request.id)!), onText),
    close: () => client.close(),
  };
}

function read(answer: Answer, onText: (text: string) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    answer.events$.subscribe({
      next: (event) => {
        if (event.type === 'text') onText(event.text);
      },
      complete: resolve,
      error: reject,
    });
  });
}
