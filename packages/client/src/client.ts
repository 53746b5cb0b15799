import { ActiveAnswers } from './answer/active-answers.js';
import { coldStream } from './answer/cold-stream.js';
import { LiveAnswer, type AnswerDependencies } from './answer/live-answer.js';
import type { LocalStore } from './cache/local-store.js';
import { createClientStorage } from './cache/client-storage.js';
import { createClientConnection } from './connection/client-connection.js';
import { randomId } from './random-id.js';
import { createStart } from './output/create-start.js';
import type { AnswerRequest, Client, ClientOptions } from './types.js';

/** The local store of each client, for its chats. A client that stores nothing has no entry. */
export const clientStores: WeakMap<Client, LocalStore> = new WeakMap();

/** Functions that remove the chats of a client without a local store, when its cache is cleared. */
export const clearChats: WeakMap<Client, () => Promise<void>> = new WeakMap();

/**
 * Creates a client of one server. It connects with the first question, `resume` or subscription to `active$`.
 */
export function createClient(options: ClientOptions = {}): Client {
  const { url, auth, cache = {} } = options;
  const connection = createClientConnection(options);
  // Without a namespace, the next user of this browser could read the answers of this one.
  const isWithoutUser = auth !== undefined && cache !== false && cache.namespace === undefined;
  const storage = cache === false || isWithoutUser ? undefined : createClientStorage(url, cache);
  const answers = new ActiveAnswers(connection, storage?.journal);
  const dependencies: AnswerDependencies = { connection, storage, answers };
  const start = (request: AnswerRequest): LiveAnswer =>
    new LiveAnswer(randomId(), request, dependencies);

  const client: Client = {
    stream: (request) => coldStream(() => start(request), request.options?.onUnsubscribe),
    start: createStart((request) => start(request).createHandle()),
    resume(id, { tools } = {}) {
      const query = answers.entry(id)?.query ?? '';
      const answer = answers.get(id) ?? new LiveAnswer(id, { query }, dependencies, false);
      answer.runTools(tools);
      return answer.createHandle();
    },
    active$: answers.active$,
    connection$: connection.state$,
    cache: {
      clear: async () => {
        await clearChats.get(client)?.();
        await storage?.clear();
      },
    },
    close() {
      answers.close();
      connection.close();
      storage?.close();
    },
  };
  if (storage !== undefined) clientStores.set(client, storage.store);
  return client;
}
