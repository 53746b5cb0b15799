import type { Subscription } from 'rxjs';
import { getCurrentInstance, onMounted, onScopeDispose, type ShallowRef, shallowRef } from 'vue';
import type { Client, ConnectionState } from '../types.js';
import {
  type AnswerActions,
  type AnswerState,
  createAnswerController,
  type UseAnswerOptions,
} from './answer-controller.js';

export type { AnswerActions, AnswerState, Idle, UseAnswerOptions } from './answer-controller.js';

/** The state of a view's answer, and what the view can do. */
export interface UseAnswer extends AnswerActions {
  readonly state: Readonly<ShallowRef<AnswerState>>;
}

/**
 * Asks on behalf of a component, or of an effect scope. The state changes at most once a frame. Nothing
 * is asked while rendering on a server.
 */
export function useAnswer(client: Client, options?: UseAnswerOptions): UseAnswer {
  const { state$, getSnapshot, actions } = createAnswerController(client, options);
  const state = shallowRef(getSnapshot());
  whileMounted(() => state$.subscribe((next) => (state.value = next)));
  return { state, ...actions };
}

/** The state of the client's connection. */
export function useConnection(client: Client): Readonly<ShallowRef<ConnectionState>> {
  const connection = shallowRef<ConnectionState>({ status: 'idle' });
  whileMounted(() => client.connection$.subscribe((next) => (connection.value = next)));
  return connection;
}

function whileMounted(subscribe: () => Subscription): void {
  let subscription: Subscription | undefined;
  const mount = (): void => {
    subscription = subscribe();
  };
  if (getCurrentInstance()) onMounted(mount);
  else mount();
  onScopeDispose(() => subscription?.unsubscribe());
}
