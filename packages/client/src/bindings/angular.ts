import { afterNextRender, DestroyRef, inject, type Signal, signal } from '@angular/core';
import type { Client } from '../types.js';
import {
  type AnswerActions,
  type AnswerState,
  createAnswerController,
} from './answer-controller.js';

export type { AnswerActions, AnswerState, Idle } from './answer-controller.js';

/** The state of a view's answer, and what the view can do. */
export interface InjectedAnswer extends AnswerActions {
  readonly state: Signal<AnswerState>;
}

/**
 * Asks on behalf of what is being constructed, in an injection context; no zone is needed. The state
 * changes at most once a frame; the answer is left when the owner is destroyed, and nothing is asked
 * while rendering on a server.
 */
export function injectAnswer(client: Client): InjectedAnswer {
  const { state$, getSnapshot, ask, resume, stop, retry } = createAnswerController(client);
  const state = signal(getSnapshot());
  const destroyRef = inject(DestroyRef);
  afterNextRender(() => {
    const subscription = state$.subscribe((next) => state.set(next));
    destroyRef.onDestroy(() => subscription.unsubscribe());
  });
  return { state: state.asReadonly(), ask, resume, stop, retry };
}
