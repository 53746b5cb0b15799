import { useMemo, useSyncExternalStore } from 'react';
import type { Client } from '../types.js';
import {
  type AnswerActions,
  type AnswerState,
  createAnswerController,
  IDLE,
} from './answer-controller.js';

export type { AnswerActions, AnswerState, Idle } from './answer-controller.js';

/** The state of a view's answer, and what the view can do; the actions are always the same functions. */
export interface UseAnswer extends AnswerActions {
  readonly state: AnswerState;
}

/**
 * Asks on behalf of a component. It renders at most once a frame, leaves the answer when it is
 * unmounted, and asks nothing while it is rendered on a server.
 */
export function useAnswer(client: Client): UseAnswer {
  const { ask, resume, stop, retry, getSnapshot, subscribe } = useMemo(() => {
    const controller = createAnswerController(client);
    return {
      ...controller,
      subscribe(changed: () => void) {
        const subscription = controller.state$.subscribe(changed);
        return () => subscription.unsubscribe();
      },
    };
  }, [client]);
  const state = useSyncExternalStore(subscribe, getSnapshot, () => IDLE);
  return { state, ask, resume, stop, retry };
}
