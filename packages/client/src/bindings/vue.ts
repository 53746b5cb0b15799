import type { Subscription } from 'rxjs';
import { getCurrentInstance, onMounted, onScopeDispose, type ShallowRef, shallowRef } from 'vue';
import type { Client } from '../types.js';
import {
  type AnswerActions,
  type AnswerState,
  createAnswerController,
} from './answer-controller.js';

export type { AnswerActions, AnswerState, Idle } from './answer-controller.js';

/** The state of a view's answer, and what the view can do. */
export interface UseAnswer extends AnswerActions {
  readonly state: Readonly<ShallowRef<AnswerState>>;
}

/**
 * Asks on behalf of a component, or of an effect scope. The state changes at most once a frame; the
 * answer is left when the scope is disposed of, and nothing is asked while rendering on a server.
 */
export function useAnswer(client: Client): UseAnswer {
  const { state$, getSnapshot, ask, resume, stop, retry } = createAnswerController(client);
  const state = shallowRef(getSnapshot());
  let subscription: Subscription | undefined;
  const mount = (): void => {
    subscription = state$.subscribe((next) => (state.value = next));
  };
  if (getCurrentInstance()) onMounted(mount);
  else mount();
  onScopeDispose(() => subscription?.unsubscribe());
  return { state, ask, resume, stop, retry };
}
