import { createMemory } from './cache/memory.js';
import { coldStream } from './cold-stream.js';
import { createConnections } from './connections.js';
import { randomId } from './random-id.js';
import { LiveResponse, type Surroundings } from './response.js';
import { createRunning } from './running.js';
import type { AnswerRequest, Client, ClientOptions } from './types.js';

/** A client of one server. Nothing happens until something is asked of it. */
export function createClient({ url, auth, cache = {} }: ClientOptions = {}): Client {
  const connection = createConnections(url, auth);
  // Another user's answers are not to be found here by the next one.
  const isNobodys = auth !== undefined && cache !== false && cache.namespace === undefined;
  const memory = cache === false || isNobodys ? undefined : createMemory(url ?? '', cache);
  const running = createRunning(connection, memory?.journal);
  const around: Surroundings = { connection, memory, running };

  function open(ask: AnswerRequest): LiveResponse {
    return new LiveResponse(randomId(), ask, around);
  }

  return {
    stream: (ask) => coldStream(() => open(ask)),
    start: (ask) => open(ask).answer,
    resume(id) {
      const query = running.listed(id)?.query ?? '';
      return running.find(id) ?? new LiveResponse(id, { query }, around, false).answer;
    },
    active$: running.active$,
    connection$: connection.status$,
    cache: {
      clear: async () => memory?.clear(),
    },
    close() {
      connection.close();
      memory?.close();
    },
  };
}
