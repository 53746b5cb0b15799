import type { Subscription } from 'rxjs';
import { getCurrentInstance, onMounted, onScopeDispose, type ShallowRef, shallowRef } from 'vue';
import type { Client } from '../types.js';
import { type AskActions, type AskState, createAsker } from './asker.js';

export type { AskActions, AskState, Idle } from './asker.js';

/** The state of a view's answer, and what the view can do. */
export interface UseAnswer extends AskActions {
  readonly state: Readonly<ShallowRef<AskState>>;
}

/**
 * Asks on behalf of a component, or of an effect scope. The state changes at most once a frame; the
 * answer is left when the scope is disposed of, and nothing is asked while rendering on a server.
 */
export function useAnswer(client: Client): UseAnswer {
  const { state$, getSnapshot, ask, attach, stop, retry } = createAsker(client);
  const state = shallowRef(getSnapshot());
  let subscription: Subscription | undefined;
  const mount = (): void => {
    subscription = state$.subscribe((next) => (state.value = next));
  };
  if (getCurrentInstance()) onMounted(mount);
  else mount();
  onScopeDispose(() => subscription?.unsubscribe());
  return { state, ask, attach, stop, retry };
}
