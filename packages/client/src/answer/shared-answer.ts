import { Observable } from 'rxjs';
import { iterate } from './iterate.js';
import { replayEvents, failureOf, isFinal, isSameSnapshot } from './snapshot.js';
import type { Answer, AnswerRequest, AnswerSnapshot, ResponseEvent, ToolReply } from '../types.js';

/** The handles of an answer forward calls to its owner. */
export interface AnswerOwner {
  /** Undefined if only the id is known. */
  readonly request: AnswerRequest | undefined;
  cancel(): void;
  /** See `reply` of an `Answer`. */
  reply(callId: string, reply: ToolReply): Promise<void>;
  /** The last handle was released before the answer was final. */
  onLastRelease(): void;
  /** The first handle was created, or the first one after `onLastRelease`. */
  onFirstHandle(): void;
}

/** One subscription of a handle. */
interface Listener {
  /** Called once, with the newest snapshot. */
  replay(snapshot: AnswerSnapshot): void;
  /** `events` are what happened since the snapshot before. */
  next(snapshot: AnswerSnapshot, events: readonly ResponseEvent[]): void;
  complete(snapshot: AnswerSnapshot): void;
}

/**
 * One answer and its handles. Every subscriber gets every change in order: a change that a subscriber causes is
 * delivered after the current one.
 */
export class SharedAnswer {
  #current: AnswerSnapshot;
  readonly #owner: AnswerOwner;
  #handles: readonly Handle[] = [];
  readonly #queue: (() => void)[] = [];
  #isNotifying = false;

  constructor(first: AnswerSnapshot, owner: AnswerOwner) {
    this.#current = first;
    this.#owner = owner;
  }

  get current(): AnswerSnapshot {
    return this.#current;
  }

  get owner(): AnswerOwner {
    return this.#owner;
  }

  get isFinal(): boolean {
    return isFinal(this.#current);
  }

  /** @returns a new handle. */
  createHandle(): Answer {
    const handle = new Handle(this);
    if (this.isFinal) return handle;
    this.#handles = [...this.#handles, handle];
    if (this.#handles.length === 1) this.#owner.onFirstHandle();
    return handle;
  }

  release(handle: Handle): void {
    this.#handles = this.#handles.filter((other) => other !== handle);
    if (this.#handles.length === 0) this.#owner.onLastRelease();
  }

  /** Nothing happens after the final snapshot, or if nothing is new. */
  next(snapshot: AnswerSnapshot, events: readonly ResponseEvent[]): void {
    if (this.isFinal || (events.length === 0 && isSameSnapshot(snapshot, this.#current))) return;
    this.#current = snapshot;
    const handles = this.#handles;
    if (isFinal(snapshot)) this.#handles = [];
    this.notify(() => notifyAll(handles, snapshot, events));
  }

  /** Calls `callback` after the notifications that are being delivered. */
  notify(callback: () => void): void {
    if (this.#isNotifying) this.#queue.push(callback);
    else this.#runQueue(callback);
  }

  /** Calls `callback` at once. Changes that it causes are delivered after it. */
  notifyNow(callback: () => void): void {
    if (this.#isNotifying) callback();
    else this.#runQueue(callback);
  }

  #runQueue(first: () => void): void {
    this.#isNotifying = true;
    try {
      first();
      for (let next; (next = this.#queue.shift()) !== undefined;) next();
    } finally {
      this.#isNotifying = false;
    }
  }
}

function notifyAll(
  handles: readonly Handle[],
  snapshot: AnswerSnapshot,
  events: readonly ResponseEvent[],
): void {
  for (const handle of handles) handle.next(snapshot, events);
}

/** Emits the text of the snapshots, each time it differs. */
export function textsOf(state$: Observable<AnswerSnapshot>): Observable<string> {
  return new Observable((subscriber) => {
    let before: string | undefined;
    return state$.subscribe({
      next({ text }) {
        if (text !== before) subscriber.next(text);
        before = text;
      },
      complete: () => subscriber.complete(),
    });
  });
}

/** The answer as one reader sees it. */
class Handle implements Answer {
  readonly id: string;
  readonly state$: Observable<AnswerSnapshot>;
  readonly text$: Observable<string>;
  readonly events$: Observable<ResponseEvent>;
  readonly result: Promise<AnswerSnapshot>;
  readonly #shared: SharedAnswer;
  #listeners: readonly Listener[] = [];
  /** The snapshot that was emitted last. */
  #newest: AnswerSnapshot;
  /** The last snapshot of a handle that was released before the answer was final. */
  #releasedSnapshot: AnswerSnapshot | undefined;
  #settle!: { resolve(snapshot: AnswerSnapshot): void; reject(error: unknown): void };

  constructor(shared: SharedAnswer) {
    this.#shared = shared;
    this.#newest = shared.current;
    this.id = shared.current.id;
    this.result = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    // An ignored failure must not end a Node.js process as an unhandled rejection.
    this.result.catch(() => {});
    this.state$ = new Observable((subscriber) =>
      this.#listen({
        replay: (snapshot) => subscriber.next(snapshot),
        next: (snapshot) => subscriber.next(snapshot),
        complete: () => subscriber.complete(),
      }),
    );
    this.text$ = textsOf(this.state$);
    this.events$ = new Observable((subscriber) =>
      this.#listen({
        replay(snapshot) {
          for (const event of replayEvents(snapshot)) subscriber.next(event);
        },
        next(_, events) {
          for (const event of events) subscriber.next(event);
        },
        complete(snapshot) {
          const failure = failureOf(snapshot);
          if (failure === undefined) subscriber.complete();
          else subscriber.error(failure);
        },
      }),
    );
    if (shared.isFinal) this.#end(shared.current);
  }

  get request(): AnswerRequest | undefined {
    return this.#shared.owner.request;
  }

  getSnapshot(): AnswerSnapshot {
    return this.#releasedSnapshot ?? this.#shared.current;
  }

  cancel(): void {
    if (this.#releasedSnapshot === undefined) this.#shared.owner.cancel();
  }

  reply(callId: string, reply: ToolReply): Promise<void> {
    return this.#shared.owner.reply(callId, reply);
  }

  release(): void {
    const shared = this.#shared;
    if (this.#releasedSnapshot !== undefined || shared.isFinal) return;
    const snapshot = Object.freeze({
      ...shared.current,
      status: 'released',
      ahead: undefined,
    } as AnswerSnapshot);
    this.#releasedSnapshot = snapshot;
    shared.release(this);
    shared.notify(() => this.#emit(snapshot, []));
  }

  [Symbol.asyncIterator](): AsyncGenerator<ResponseEvent, void, undefined> {
    return iterate(this.events$);
  }

  next(snapshot: AnswerSnapshot, events: readonly ResponseEvent[]): void {
    if (this.#releasedSnapshot === undefined) this.#emit(snapshot, events);
  }

  #emit(snapshot: AnswerSnapshot, events: readonly ResponseEvent[]): void {
    this.#newest = snapshot;
    for (const listener of this.#listeners) listener.next(snapshot, events);
    if (isFinal(snapshot)) this.#end(snapshot);
  }

  #end(snapshot: AnswerSnapshot): void {
    const listeners = this.#listeners;
    this.#listeners = [];
    if (snapshot.error === undefined) this.#settle.resolve(snapshot);
    else this.#settle.reject(snapshot.error);
    for (const listener of listeners) listener.complete(snapshot);
  }

  #listen(listener: Listener): () => void {
    const isOver = isFinal(this.#newest);
    if (!isOver) this.#listeners = [...this.#listeners, listener];
    this.#shared.notifyNow(() => {
      const newest = this.#newest;
      listener.replay(newest);
      if (isOver) listener.complete(newest);
    });
    return () => {
      this.#listeners = this.#listeners.filter((other) => other !== listener);
    };
  }
}
