import { afterNextRender, DestroyRef, inject, type Signal, signal } from '@angular/core';
import type { Subscription } from 'rxjs';
import type { Client, ConnectionState } from '../types.js';
import {
  type AnswerActions,
  type AnswerState,
  createAnswerController,
  type UseAnswerOptions,
} from './answer-controller.js';

export type { AnswerActions, AnswerState, Idle, UseAnswerOptions } from './answer-controller.js';

/** The state of a view's answer, and what the view can do. */
export interface InjectedAnswer extends AnswerActions {
  readonly state: Signal<AnswerState>;
}

/**
 * Asks on behalf of what is being constructed, in an injection context; no zone is needed. The state
 * changes at most once a frame. Nothing is asked while rendering on a server.
 */
export function injectAnswer(client: Client, options?: UseAnswerOptions): InjectedAnswer {
  const { state$, getSnapshot, actions } = createAnswerController(client, options);
  const state = signal(getSnapshot());
  afterRender(() => state$.subscribe((next) => state.set(next)));
  return { state: state.asReadonly(), ...actions };
}

/** The state of the client's connection. */
export function injectConnection(client: Client): Signal<ConnectionState> {
  const connection = signal<ConnectionState>({ status: 'idle' });
  afterRender(() => client.connection$.subscribe((next) => connection.set(next)));
  return connection.asReadonly();
}

function afterRender(subscribe: () => Subscription): void {
  const destroyRef = inject(DestroyRef);
  afterNextRender(() => {
    const subscription = subscribe();
    destroyRef.onDestroy(() => subscription.unsubscribe());
  });
}
