import {
  type Answer,
  type AnswerSnapshot,
  type Client,
  type ClientOptions,
  createClient,
} from '@rivulet/client';
import { filter, firstValueFrom } from 'rxjs';
import { onTestFinished } from 'vitest';

/** A client that keeps nothing unless told, closed when the test ends. */
export function sdk(url: string, options: ClientOptions = {}): Client {
  const client = createClient({ url, cache: false, ...options });
  onTestFinished(() => client.close());
  return client;
}

/** The first snapshot for which `matches` is true, the present one included. */
export function snapshotWhen(
  { state$ }: Answer,
  matches: (snapshot: AnswerSnapshot) => boolean,
): Promise<AnswerSnapshot> {
  return firstValueFrom(state$.pipe(filter(matches)));
}
