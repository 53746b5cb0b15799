import { REQUEST_LIMITS, type StreamSummary } from '@rivulet/protocol';
import { Observable } from 'rxjs';
import type { Journal } from '../cache/journal.js';
import type { Connection } from '../connection/connection.js';
import { createStateSubject } from '../state-subject.js';
import type { ActiveAnswer, AnswerRequest } from '../types.js';
import type { LiveAnswer } from './live-answer.js';
import { isFinal } from './snapshot.js';

type Asked = Pick<AnswerRequest, 'query' | 'sessionId'>;

/** The answers of one client by their id, and the list of the active answers of its user. */
export class ActiveAnswers {
  readonly active$: Observable<readonly ActiveAnswer[]>;
  readonly #connection: Connection;
  readonly #journal: Journal | undefined;
  readonly #answers = new Map<string, LiveAnswer>();
  /** The active answers that the journal, then the server, has listed; undefined until one of them has. */
  #entries: readonly ActiveAnswer[] | undefined;
  /** Resolves when the journal was read; undefined before the first subscription to `active$`. */
  #readJournal: Promise<void> | undefined;
  readonly #subject = createStateSubject<readonly ActiveAnswer[]>();
  #lastJson = '';

  constructor(connection: Connection, journal: Journal | undefined) {
    this.#connection = connection;
    this.#journal = journal;
    this.active$ = new Observable((subscriber) => {
      // A view that is rendered on a server subscribes and unsubscribes synchronously, and must open no socket.
      queueMicrotask(() => {
        if (subscriber.closed) return;
        this.#observe();
        subscriber.add(connection.keepOpen());
      });
      return this.#subject.value$.subscribe(subscriber);
    });
  }

  get(id: string): LiveAnswer | undefined {
    return this.#answers.get(id);
  }

  /** @returns the entry of the active answer with this id. */
  entry(id: string): ActiveAnswer | undefined {
    return this.#entries?.find((active) => active.id === id);
  }

  add(answer: LiveAnswer): void {
    this.#answers.set(answer.id, answer);
  }

  remove(answer: LiveAnswer): void {
    const { id, snapshot } = answer;
    if (this.#answers.get(id) === answer) this.#answers.delete(id);
    // The server may go on with a released answer for another page.
    if (isFinal(snapshot)) this.unlist(id);
  }

  /** Removes the answer from `active$`, unless this client reads it; call `update` afterwards. */
  unlist(id: string): void {
    this.#entries = this.#entries?.filter((active) => active.id !== id);
  }

  /** Updates `active$`; call it after `status`, `tools` or `isActive` of an answer has changed. */
  update(): void {
    if (this.#entries === undefined) return;
    const byId = new Map(this.#entries.map((active) => [active.id, active]));
    for (const { id, snapshot, request, isActive } of this.#answers.values()) {
      // Only the list has the query that another page has asked.
      const asked: Asked = request ?? byId.get(id) ?? snapshot;
      const isPaused = snapshot.tools.some((tool) => tool.status === 'awaiting');
      const status = isPaused ? 'paused' : snapshot.status;
      if (isFinal(snapshot)) byId.delete(id);
      else if (isActive) byId.set(id, { ...summary(id, asked), status } as ActiveAnswer);
    }
    const entries = [...byId.values()];
    const json = JSON.stringify(entries);
    if (json === this.#lastJson) return;
    this.#lastJson = json;
    this.#subject.next(entries);
  }

  /** Closes all answers of the client. */
  close(): void {
    for (const answer of this.#answers.values()) answer.close();
  }

  #observe(): void {
    if (this.#readJournal) return;
    this.#readJournal = this.#addFromJournal();
    this.#connection.state$.subscribe({
      next: ({ status }) => {
        if (status === 'connected') void this.#requestList();
      },
      complete: () => {
        this.#entries = [];
        this.#answers.clear();
        this.update();
        this.#subject.complete();
      },
    });
  }

  /**
   * Adds answers from the journal: all of them before the server has replied, afterwards only those whose question
   * the server does not have yet.
   */
  async #addFromJournal(): Promise<void> {
    const stored = (await this.#journal?.all()) ?? [];
    const entries = this.#entries;
    // An empty journal does not mean that nothing is running; only the server knows.
    if (!entries && stored.length === 0) return;
    const added = stored.flatMap(({ id, request, phase }): ActiveAnswer[] => {
      const isAsking = phase === 'asking';
      if (entries && (!isAsking || this.entry(id))) return [];
      return [{ ...summary(id, request), status: isAsking ? 'waiting' : 'reconnecting' }];
    });
    this.#entries = [...(this.#entries ?? []), ...added];
    this.update();
  }

  /** Waits for the journal, so that the first value is what it has. */
  async #requestList(): Promise<void> {
    await this.#readJournal;
    this.#connection.listStreams(
      (reply) => {
        if (!reply.ok) return;
        this.#entries = reply.streams.flatMap(toActiveAnswers);
        void this.#addFromJournal();
      },
      (stream) => {
        const entries = [...(this.#entries ?? [])];
        const at = entries.findIndex(({ id }) => id === stream.stream_id);
        entries.splice(at < 0 ? entries.length : at, 1, ...toActiveAnswers(stream));
        this.#entries = entries;
        this.update();
      },
    );
  }
}

/** @returns nothing if the stream has ended. */
function toActiveAnswers({ stream_id, query, session_id, status }: StreamSummary): ActiveAnswer[] {
  if (status === 'ended') return [];
  return [{ ...summary(stream_id, { query, sessionId: session_id }), status }];
}

function summary(id: string, { query, sessionId }: Asked): Omit<ActiveAnswer, 'status'> {
  return { id, query: query.slice(0, REQUEST_LIMITS.listedQueryUnits), sessionId };
}
