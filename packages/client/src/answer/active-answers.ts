import { REQUEST_LIMITS, type StreamSummary } from '@rivulet/protocol';
import { Observable } from 'rxjs';
import type { Journal } from '../cache/journal.js';
import type { Connection } from '../connection/link.js';
import { createLatest } from '../latest.js';
import type { ActiveAnswer } from '../types.js';
import type { LiveAnswer } from './live-answer.js';
import { isFinal } from './snapshot.js';

/** The answers of one client by their id, and those of the same user that others read. */
export class ActiveAnswers {
  readonly active$: Observable<readonly ActiveAnswer[]>;
  readonly #connection: Connection;
  readonly #journal: Journal | undefined;
  readonly #own = new Map<string, LiveAnswer>();
  /** By the journal, then by the server; undefined until one of them has said. */
  #listed: readonly ActiveAnswer[] | undefined;
  #isObserved = false;
  readonly #latest = createLatest<readonly ActiveAnswer[]>();
  #told = '';

  constructor(connection: Connection, journal: Journal | undefined) {
    this.#connection = connection;
    this.#journal = journal;
    this.active$ = new Observable((subscriber) => {
      // A view that is rendered on a server subscribes and leaves in one turn. It opens no socket.
      queueMicrotask(() => {
        if (subscriber.closed) return;
        this.#observe();
        subscriber.add(connection.hold());
      });
      return this.#latest.value$.subscribe(subscriber);
    });
  }

  get(id: string): LiveAnswer | undefined {
    return this.#own.get(id);
  }

  /** @returns the newest entry of the list of an answer that others read. */
  listed(id: string): ActiveAnswer | undefined {
    return this.#listed?.find((active) => active.id === id);
  }

  add(answer: LiveAnswer): void {
    this.#own.set(answer.id, answer);
  }

  remove(answer: LiveAnswer): void {
    const { id } = answer;
    if (this.#own.get(id) === answer) this.#own.delete(id);
    this.#listed = this.#listed?.filter((active) => active.id !== id);
  }

  /** To be called when the status of an answer or of its tools has changed, or whether it is listed. */
  changed(): void {
    if (this.#listed === undefined) return;
    const byId = new Map(this.#listed.map((active) => [active.id, active]));
    for (const { id, snapshot, sessionId, isListed } of this.#own.values()) {
      const { query, tools } = snapshot;
      const isPaused = tools.some((tool) => tool.status === 'awaiting');
      const status = isPaused ? 'paused' : snapshot.status;
      if (!isListed || isFinal(snapshot)) byId.delete(id);
      else byId.set(id, { ...summary(id, query, sessionId), status } as ActiveAnswer);
    }
    const now = [...byId.values()];
    const news = JSON.stringify(now);
    if (news === this.#told) return;
    this.#told = news;
    this.#latest.next(now);
  }

  /** The client is closed. */
  close(): void {
    for (const answer of this.#own.values()) answer.close();
  }

  #observe(): void {
    if (this.#isObserved) return;
    this.#isObserved = true;
    void this.#recall();
    this.#connection.state$.subscribe({
      next: ({ status }) => {
        if (status === 'connected') this.#list();
      },
      complete: () => {
        this.#listed = [];
        this.#own.clear();
        this.changed();
        this.#latest.complete();
      },
    });
  }

  /** Adds what only the journal knows: everything before the server has said, then what it was not asked. */
  async #recall(): Promise<void> {
    const entries = (await this.#journal?.all()) ?? [];
    const listed = this.#listed;
    // An empty journal does not mean that nothing is running; only the server knows.
    if (!listed && entries.length === 0) return;
    const added = entries.flatMap(({ id, request, phase }): ActiveAnswer[] => {
      const isAsking = phase === 'asking';
      if (listed && (!isAsking || this.listed(id))) return [];
      const known = summary(id, request.query, request.sessionId);
      return [{ ...known, status: isAsking ? 'waiting' : 'reconnecting' }];
    });
    this.#listed = [...(listed ?? []), ...added];
    this.changed();
  }

  #list(): void {
    this.#connection.list(
      (reply) => {
        if (!reply.ok) return;
        this.#listed = reply.streams.flatMap(activeOf);
        void this.#recall();
      },
      (stream) => {
        const listed = [...(this.#listed ?? [])];
        const at = listed.findIndex(({ id }) => id === stream.stream_id);
        listed.splice(at < 0 ? listed.length : at, 1, ...activeOf(stream));
        this.#listed = listed;
        this.changed();
      },
    );
  }
}

/** @returns nothing if the stream has ended. */
function activeOf({ stream_id, query, session_id, status }: StreamSummary): ActiveAnswer[] {
  if (status === 'ended') return [];
  return [{ ...summary(stream_id, query, session_id), status }];
}

function summary(
  id: string,
  query: string,
  sessionId: string | undefined,
): Omit<ActiveAnswer, 'status'> {
  return { id, query: query.slice(0, REQUEST_LIMITS.listedQueryUnits), sessionId };
}
