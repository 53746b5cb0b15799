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
  const store: AnswerStore = {
    get: async (request) => answers?.get(await cacheKey(url ?? '', request)),
    put: async (request, answer) => answers?.put(await cacheKey(url ?? '', request), answer),
  };

  function open(ask: Ask): LiveResponse {
    return new LiveResponse(randomId(), ask, connection, store);
  }

  return {
    stream: (ask) => coldStream(() => open(ask)),
    start: (ask) => open(ask).answer,
    connection$: connection.status$,
    cache: { clear: async () => answers?.clear() },
    close: () => connection.close(),
  };
}
