import { LIMITS, StreamError, type ContextMessage } from '@rivulet/protocol';
import { filter, firstValueFrom, map, of, race, switchMap, timer } from 'rxjs';
import { fittingContext } from '../chat/context.js';
import type { Answer, AnswerRequest, Client, ResumeOptions } from '../types.js';

/** The options of each question of a bridge. A tool without `execute` is run by the code of the page's UI. */
export type BridgeOptions = Pick<AnswerRequest, 'intent' | 'options' | 'tools'>;

/** The server answers within a round trip; an answer that it does not list by then is not running. */
const LIST_TIMEOUT_MS = 1_000;

/**
 * The request that asks the last of `messages`, with those before it as context.
 *
 * @throws {StreamError} bad_request if the last message is not the user's.
 */
export function requestOf(
  messages: readonly ContextMessage[],
  sessionId: string,
  { intent, options, tools }: BridgeOptions,
): AnswerRequest {
  const question = messages.at(-1);
  if (question?.role !== 'user') {
    throw new StreamError('bad_request', 'unable to ask: the last message must be one of the user');
  }
  const earlier = messages.slice(0, -1).filter(({ content }) => content.trim() !== '');
  return {
    query: question.content,
    ...(sessionId.length <= LIMITS.idUnits && { sessionId }),
    ...fittingContext(earlier, [question.content]),
    intent,
    options,
    ...(tools !== undefined && tools.length > 0 && { tools }),
  };
}

/** @throws {StreamError} unsupported */
export function refuse(what: string, instead: string): never {
  throw new StreamError('unsupported', `unable to send ${what}: ${instead}`);
}

/**
 * The newest answer under way whose session is sought: by this browser, by another tab, on another device.
 *
 * @returns a handle of it, or undefined once the server has said that there is none, or has refused this client.
 */
export async function findAnswer(
  client: Client,
  isSought: (sessionId: string) => boolean,
  options: ResumeOptions = {},
): Promise<Answer | undefined> {
  const found$ = client.active$.pipe(
    map((active) => ({
      isEmpty: active.length === 0,
      id: active.findLast(({ sessionId }) => sessionId !== undefined && isSought(sessionId))?.id,
    })),
    // The first list may be of this browser alone.
    filter(({ isEmpty, id }) => isEmpty || id !== undefined),
    map(({ id }) => id),
  );
  const nothing$ = client.connection$.pipe(
    filter(({ status }) => status === 'connected' || status === 'refused'),
    switchMap(({ status }) => (status === 'refused' ? of(0) : timer(LIST_TIMEOUT_MS))),
    map(() => undefined),
  );
  const id = await firstValueFrom(race(found$, nothing$), { defaultValue: undefined });
  return id === undefined ? undefined : client.resume(id, options);
}
