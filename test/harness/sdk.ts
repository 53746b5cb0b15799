import {
  type Answer,
  type AnswerSnapshot,
  type Client,
  type ClientOptions,
  type ConnectionState,
  createClient,
} from '@rivulet/client';
import { filter, firstValueFrom } from 'rxjs';
import { onTestFinished } from 'vitest';
import { startServer } from './rivulet.js';
import { stage } from './stage.js';

/** A client that keeps nothing unless told, closed when the test ends. */
export function sdk(url: string, options: ClientOptions = {}): Client {
  const client = createClient({ url, cache: false, ...options });
  onTestFinished(() => client.close());
  return client;
}

/** Connects, and keeps the connection. Resolves when there is one. */
export async function connected(client: Client): Promise<void> {
  const subscription = client.active$.subscribe();
  onTestFinished(() => subscription.unsubscribe());
  await connectionWhen(client, ({ status }) => status === 'connected');
}

/** The first state of the connection for which `matches` is true, the present one included. */
export function connectionWhen(
  { connection$ }: Client,
  matches: (state: ConnectionState) => boolean,
): Promise<ConnectionState> {
  return firstValueFrom(connection$.pipe(filter(matches)));
}

/** The statuses of the connection from now on. */
export function statusesOf({ connection$ }: Client): ConnectionState['status'][] {
  const statuses: ConnectionState['status'][] = [];
  connection$.subscribe(({ status }) => statuses.push(status));
  return statuses;
}

/** The first snapshot for which `matches` is true, the present one included. */
export function snapshotWhen(
  { state$ }: Answer,
  matches: (snapshot: AnswerSnapshot) => boolean,
): Promise<AnswerSnapshot> {
  return firstValueFrom(state$.pipe(filter(matches)));
}

/** A client of a server whose provider the test plays. */
export async function staged(options?: Parameters<typeof startServer>[1]) {
  const { provider, calls, nextCall } = stage();
  const server = await startServer(provider, options);
  return { server, client: sdk(server.url), calls, nextCall };
}
