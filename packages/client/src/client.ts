import { cacheKey } from './cache/key.js';
import { createResponseCache } from './cache/response-cache.js';
import { coldStream } from './cold-stream.js';
import { createConnection } from './connection.js';
import { randomId } from './random-id.js';
import { type AnswerStore, LiveResponse } from './response.js';
import type { Ask, Client, ClientOptions } from './types.js';

/** A client of one server. Nothing happens until something is asked of it. */
export function createClient({ url, auth, cache = {} }: ClientOptions = {}): Client {
  const connection = createConnection(url, auth);
  const answers = cache === false ? undefined : createResponseCache(cache);
  let clearedAt = 0;
  const store: AnswerStore = {
    get: async (request) => answers?.get(await cacheKey(url ?? '', request)),
    async put(request, answer, askedAt) {
      const key = await cacheKey(url ?? '', request);
      if (askedAt > clearedAt) await answers?.put(key, answer);
    },
  };

  function open(ask: Ask): LiveResponse {
    return new LiveResponse(randomId(), ask, connection, store);
  }

  return {
    stream: (ask) => coldStream(() => open(ask)),
    start: (ask) => open(ask).answer,
    connection$: connection.status$,
    cache: {
      async clear() {
        clearedAt = performance.now();
        await answers?.clear();
      },
    },
    close: () => connection.close(),
  };
}
