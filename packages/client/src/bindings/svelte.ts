import type { Readable } from 'svelte/store';
import type { Observable } from 'rxjs';
import type { Client, ConnectionState } from '../types.js';
import {
  type AnswerActions,
  type AnswerState,
  createAnswerController,
  type UseAnswerOptions,
} from './answer-controller.js';

export type { AnswerActions, AnswerState, Idle, UseAnswerOptions } from './answer-controller.js';

/** A store of the state of a view's answer, and what the view can do. */
export interface AnswerStore extends Readable<AnswerState>, AnswerActions {}

/**
 * Asks on behalf of a component: `$answer` is the state, which changes at most once a frame. Nothing is
 * asked while rendering on a server.
 */
export function createAnswer(client: Client, options?: UseAnswerOptions): AnswerStore {
  const { state$, actions } = createAnswerController(client, options);
  return { ...readable(state$), ...actions };
}

/** A store of the state of the client's connection. */
export function createConnection(client: Client): Readable<ConnectionState> {
  return readable(client.connection$);
}

function readable<T>(source: Observable<T>): Readable<T> {
  return {
    // Svelte gives a second argument, which RxJS would take for a handler of errors.
    subscribe(run) {
      const subscription = source.subscribe((next) => run(next));
      return () => subscription.unsubscribe();
    },
  };
}
