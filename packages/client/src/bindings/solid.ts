import { type Accessor, createSignal, onCleanup, onMount } from 'solid-js';
import type { Client, ConnectionState } from '../types.js';
import {
  type AnswerActions,
  type AnswerState,
  createAnswerController,
  type UseAnswerOptions,
} from './answer-controller.js';

export type { AnswerActions, AnswerState, Idle, UseAnswerOptions } from './answer-controller.js';

/** The state of a view's answer, and what the view can do. */
export interface CreatedAnswer extends AnswerActions {
  readonly state: Accessor<AnswerState>;
}

/**
 * Asks on behalf of a component. The state changes at most once a frame. Nothing is asked while rendering
 * on a server.
 */
export function createAnswer(client: Client, options?: UseAnswerOptions): CreatedAnswer {
  const { state$, getSnapshot, actions } = createAnswerController(client, options);
  const [state, setState] = createSignal(getSnapshot());
  onMount(() => {
    const subscription = state$.subscribe((next) => setState(next));
    onCleanup(() => subscription.unsubscribe());
  });
  return { state, ...actions };
}

/** The state of the client's connection. */
export function createConnection(client: Client): Accessor<ConnectionState> {
  const [connection, setConnection] = createSignal<ConnectionState>({ status: 'idle' });
  onMount(() => {
    const subscription = client.connection$.subscribe((next) => setConnection(next));
    onCleanup(() => subscription.unsubscribe());
  });
  return connection;
}
