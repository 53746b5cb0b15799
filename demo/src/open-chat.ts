import { type Answer, type Client, perFrame } from '@rivulet/client';
import type { Chat, ChatSnapshot } from '@rivulet/client/chat';
import {
  distinctUntilChanged,
  filter,
  map,
  Observable,
  shareReplay,
  startWith,
  switchMap,
} from 'rxjs';
import { runningAnswer } from './composer/status.js';

/** The chat that the page shows. */
export interface OpenChat {
  /** The open chat at once, then each that is opened. */
  readonly chat$: Observable<Chat>;
  /** Snapshots of the open chat, at most one for each frame. */
  readonly state$: Observable<ChatSnapshot>;
  /** The answer under way, or the last one that was; undefined before there is one. */
  readonly answer$: Observable<Answer | undefined>;
}

/** `createChatWith` creates each chat that the page uses, so that all have the same options. */
export function followOpenChat(
  client: Client,
  createChatWith: (id: string) => Chat,
  chatId$: Observable<string>,
): OpenChat {
  const chat$ = chatId$.pipe(
    map((id) => createChatWith(id)),
    shareReplay({ bufferSize: 1, refCount: true }),
  );
  const state$ = chat$.pipe(
    switchMap((chat) => chat.state$.pipe(perFrame())),
    shareReplay({ bufferSize: 1, refCount: true }),
  );
  const answer$ = state$.pipe(
    map((state) => runningAnswer(state)?.answer.id),
    filter((id) => id !== undefined),
    distinctUntilChanged(),
    switchMap((id) => resumeAnswer(client, id)),
    startWith(undefined),
    shareReplay({ bufferSize: 1, refCount: true }),
  );
  return { chat$, state$, answer$ };
}

/** A handle of the answer, which is released when nobody subscribes any more. */
function resumeAnswer(client: Client, id: string): Observable<Answer> {
  return new Observable((subscriber) => {
    const answer = client.resume(id);
    subscriber.next(answer);
    return () => answer.release();
  });
}
