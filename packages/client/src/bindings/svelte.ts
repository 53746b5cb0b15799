import type { Readable } from 'svelte/store';
import type { Client } from '../types.js';
import {
  type AnswerActions,
  type AnswerState,
  createAnswerController,
} from './answer-controller.js';

export type { AnswerActions, AnswerState, Idle } from './answer-controller.js';

/** A store of the state of a view's answer, and what the view can do. */
export interface AnswerStore extends Readable<AnswerState>, AnswerActions {}

/**
 * Asks on behalf of a component: `$answer` is the state, which changes at most once a frame. The
 * answer is left when nobody subscribes any more, and nothing is asked while rendering on a server.
 */
export function createAnswer(client: Client): AnswerStore {
  const { state$, ask, resume, stop, retry } = createAnswerController(client);
  return {
    // Svelte gives a second argument, which RxJS would take for a handler of errors.
    subscribe(run) {
      const subscription = state$.subscribe((next) => run(next));
      return () => subscription.unsubscribe();
    },
    ask,
    resume,
    stop,
    retry,
  };
}
