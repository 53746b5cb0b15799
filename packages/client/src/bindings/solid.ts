import { type Accessor, createSignal, onCleanup, onMount } from 'solid-js';
import type { Client } from '../types.js';
import {
  type AnswerActions,
  type AnswerState,
  createAnswerController,
} from './answer-controller.js';

export type { AnswerActions, AnswerState, Idle } from './answer-controller.js';

/** The state of a view's answer, and what the view can do. */
export interface CreatedAnswer extends AnswerActions {
  readonly state: Accessor<AnswerState>;
}

/**
 * Asks on behalf of a component. The state changes at most once a frame; the answer is left when the
 * component is disposed of, and nothing is asked while rendering on a server.
 */
export function createAnswer(client: Client): CreatedAnswer {
  const { state$, getSnapshot, ask, resume, stop, retry } = createAnswerController(client);
  const [state, setState] = createSignal(getSnapshot());
  onMount(() => {
    const subscription = state$.subscribe((next) => setState(next));
    onCleanup(() => subscription.unsubscribe());
  });
  return { state, ask, resume, stop, retry };
}
