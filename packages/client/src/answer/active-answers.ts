import { LIMITS } from '@rivulet/protocol';
import { Observable } from 'rxjs';
import type { Journal, Journalled } from '../cache/journal.js';
import type { Connection } from '../connection/connection.js';
import { createLatest } from '../latest.js';
import type { ActiveAnswer, Answer } from '../types.js';

/** An answer that this client reads. */
export interface RunningAnswer extends Journalled {
  readonly answer: Answer;
  readonly sessionId: string | undefined;
}

/** The answers under way: those that this client reads, and those that others do. */
export interface Running {
  readonly active$: Observable<readonly ActiveAnswer[]>;
  /** Has `running` listed and journalled until the returned function is called. */
  add(running: RunningAnswer): () => void;
  /** The answer that this client reads under `id`. */
  find(id: string): Answer | undefined;
  /** What is known of an answer that others read. */
  listed(id: string): ActiveAnswer | undefined;
}

export function createRunning(connection: Connection, journal: Journal | undefined): Running {
  const own = new Map<string, RunningAnswer>();
  /** By the journal, then by the server; undefined until one of them has said. */
  let listed: readonly ActiveAnswer[] | undefined;
  let isObserved = false;
  const latest = createLatest<readonly ActiveAnswer[]>();
  let told = '';

  function tell(): void {
    if (listed === undefined) return;
    const byId = new Map(listed.map((active) => [active.id, active]));
    for (const running of own.values()) {
      const { id, query, status } = running.answer.getSnapshot();
      if (status === 'done' || status === 'cancelled' || status === 'failed') byId.delete(id);
      else byId.set(id, { ...summary(id, query, running.sessionId), status });
    }
    const now = [...byId.values()];
    const news = JSON.stringify(now);
    if (news === told) return;
    told = news;
    latest.next(now);
  }

  function observe(): void {
    if (isObserved) return;
    isObserved = true;
    void recall();
    connection.state$.subscribe({
      next({ status }) {
        if (status === 'connected') list();
      },
      complete() {
        listed = [];
        own.clear();
        tell();
        latest.complete();
      },
    });
  }

  async function recall(): Promise<void> {
    const entries = (await journal?.all()) ?? [];
    // That nothing runs only the server knows.
    if (entries.length === 0) return;
    listed ??= entries.map(({ id, query, sessionId }) => ({
      ...summary(id, query, sessionId),
      status: 'reconnecting',
    }));
    tell();
  }

  function list(): void {
    connection.list((reply) => {
      if (!reply.ok) return;
      listed = reply.streams.flatMap(({ stream_id, query, session_id, status }) => {
        if (status === 'ended') return [];
        const isKnown = status === 'queued' || status === 'waiting' || status === 'streaming';
        return {
          ...summary(stream_id, query, session_id),
          status: isKnown ? status : ('waiting' as const),
        };
      });
      tell();
    });
  }

  return {
    active$: new Observable((subscriber) => {
      observe();
      subscriber.add(connection.hold());
      return latest.value$.subscribe(subscriber);
    }),
    find: (id) => own.get(id)?.answer,
    listed: (id) => listed?.find((active) => active.id === id),
    add(running) {
      const { id, state$ } = running.answer;
      own.set(id, running);
      const forget = journal?.follow(running);
      let before: string | undefined;
      const subscription = state$.subscribe(({ status }) => {
        if (status !== before) tell();
        before = status;
      });
      return () => {
        subscription.unsubscribe();
        forget?.();
        if (own.get(id) === running) own.delete(id);
        listed = listed?.filter((active) => active.id !== id);
        tell();
      };
    },
  };
}

function summary(
  id: string,
  query: string,
  sessionId: string | undefined,
): Omit<ActiveAnswer, 'status'> {
  return { id, query: query.slice(0, LIMITS.listedQueryUnits), sessionId };
}
