import { useMemo, useSyncExternalStore } from 'react';
import type { Client } from '../types.js';
import { type AskActions, type AskState, createAsker, IDLE } from './asker.js';

export type { AskActions, AskState, Idle } from './asker.js';

/** The state of a view's answer, and what the view can do; the actions are always the same functions. */
export interface UseAnswer extends AskActions {
  readonly state: AskState;
}

/**
 * Asks on behalf of a component. It renders at most once a frame, leaves the answer when it is
 * unmounted, and asks nothing while it is rendered on a server.
 */
export function useAnswer(client: Client): UseAnswer {
  const { ask, attach, stop, retry, getSnapshot, subscribe } = useMemo(() => {
    const asker = createAsker(client);
    return {
      ...asker,
      subscribe(changed: () => void) {
        const subscription = asker.state$.subscribe(changed);
        return () => subscription.unsubscribe();
      },
    };
  }, [client]);
  const state = useSyncExternalStore(subscribe, getSnapshot, () => IDLE);
  return { state, ask, attach, stop, retry };
}
