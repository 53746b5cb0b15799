import { ActiveAnswers } from './answer/active-answers.js';
import { coldStream } from './answer/cold-stream.js';
import { LiveAnswer, type Surroundings } from './answer/live-answer.js';
import type { LocalStore } from './cache/local-store.js';
import { createMemory } from './cache/memory.js';
import { createConnections } from './connection/connections.js';
import { randomId } from './random-id.js';
import { createStart } from './output/create-start.js';
import type { AnswerRequest, Client, ClientOptions } from './types.js';

/** What each client keeps in this browser, for its chats; a client that keeps nothing has no entry. */
export const clientStores: WeakMap<Client, LocalStore> = new WeakMap();

/** Removes the chats of a client that keeps nothing, when its cache is cleared. */
export const chatClears: WeakMap<Client, () => Promise<void>> = new WeakMap();

/** A client of one server. Nothing happens until something is asked of it. */
export function createClient(options: ClientOptions = {}): Client {
  const { url, auth, cache = {} } = options;
  const connection = createConnections(options);
  // Another user's answers are not to be found here by the next one.
  const isNobodys = auth !== undefined && cache !== false && cache.namespace === undefined;
  const memory = cache === false || isNobodys ? undefined : createMemory(url, cache);
  const answers = new ActiveAnswers(connection, memory?.journal);
  const around: Surroundings = { connection, memory, answers };
  const ask = (request: AnswerRequest): LiveAnswer => new LiveAnswer(randomId(), request, around);

  const client: Client = {
    stream: (request) => coldStream(() => ask(request), request.options?.onUnsubscribe),
    start: createStart((request) => ask(request).lease()),
    resume(id, { tools } = {}) {
      const query = answers.listed(id)?.query ?? '';
      const answer = answers.get(id) ?? new LiveAnswer(id, { query }, around, false);
      answer.runTools(tools);
      return answer.lease();
    },
    active$: answers.active$,
    connection$: connection.state$,
    cache: {
      clear: async () => {
        await chatClears.get(client)?.();
        await memory?.clear();
      },
    },
    close() {
      answers.close();
      connection.close();
      memory?.close();
    },
  };
  if (memory !== undefined) clientStores.set(client, memory.store);
  return client;
}
