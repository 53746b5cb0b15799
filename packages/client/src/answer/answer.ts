import { Observable } from 'rxjs';
import { iterate } from './iterate.js';
import { eventsOf, failureOf, isFinal, isSame } from './snapshot.js';
import type { Answer, AnswerRequest, AnswerSnapshot, ResponseEvent, ToolReply } from '../types.js';

/** The handles of an answer call their owner. */
export interface AnswerOwner {
  /** The question, with everything that was asked with it; undefined if only the id is known. */
  readonly request: AnswerRequest | undefined;
  cancel(): void;
  /** See `reply` of an `Answer`. */
  reply(callId: string, reply: ToolReply): Promise<void>;
  /** The last handle was released before the answer was final. */
  onReleased(): void;
  /** There is a handle again. */
  onLeased(): void;
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
 * One answer, and its handles. Each change reaches every subscriber, in order: a change that a subscriber
 * brings about is told after the one that is being told.
 */
export class SharedAnswer {
  #current: AnswerSnapshot;
  readonly #owner: AnswerOwner;
  #handles: readonly Handle[] = [];
  readonly #untold: (() => void)[] = [];
  #isTelling = false;

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

  /** @returns a handle of its own for one reader. */
  lease(): Answer {
    const handle = new Handle(this);
    if (this.isFinal) return handle;
    this.#handles = [...this.#handles, handle];
    if (this.#handles.length === 1) this.#owner.onLeased();
    return handle;
  }

  release(handle: Handle): void {
    this.#handles = this.#handles.filter((other) => other !== handle);
    if (this.#handles.length === 0) this.#owner.onReleased();
  }

  /** Nothing happens after the final snapshot, or if nothing is new. */
  next(snapshot: AnswerSnapshot, events: readonly ResponseEvent[]): void {
    if (this.isFinal || (events.length === 0 && isSame(snapshot, this.#current))) return;
    this.#current = snapshot;
    const handles = this.#handles;
    if (isFinal(snapshot)) this.#handles = [];
    this.inTurn(() => tellAll(handles, snapshot, events));
  }

  /** Calls `tell` once what is being told has been. */
  inTurn(tell: () => void): void {
    if (this.#isTelling) this.#untold.push(tell);
    else this.#tell(tell);
  }

  /** Calls `tell` now. What it brings about is told after it. */
  now(tell: () => void): void {
    if (this.#isTelling) tell();
    else this.#tell(tell);
  }

  #tell(first: () => void): void {
    this.#isTelling = true;
    try {
      first();
      for (let next; (next = this.#untold.shift()) !== undefined;) next();
    } finally {
      this.#isTelling = false;
    }
  }
}

function tellAll(
  handles: readonly Handle[],
  snapshot: AnswerSnapshot,
  events: readonly ResponseEvent[],
): void {
  for (const handle of handles) handle.tell(snapshot, events);
}

/** @returns the texts of snapshots, each time they differ. */
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

/** One reader's view of an answer. */
class Handle implements Answer {
  readonly id: string;
  readonly state$: Observable<AnswerSnapshot>;
  readonly text$: Observable<string>;
  readonly events$: Observable<ResponseEvent>;
  readonly result: Promise<AnswerSnapshot>;
  readonly #shared: SharedAnswer;
  #listeners: readonly Listener[] = [];
  /** The snapshot that was told last. */
  #told: AnswerSnapshot;
  /** The last snapshot of a handle that was released before the answer was final. */
  #released: AnswerSnapshot | undefined;
  #settle!: { resolve(snapshot: AnswerSnapshot): void; reject(error: unknown): void };

  constructor(shared: SharedAnswer) {
    this.#shared = shared;
    this.#told = shared.current;
    this.id = shared.current.id;
    this.result = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    // Whoever wants the failure has it here and in the state; ignoring it must not end a process.
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
          for (const event of eventsOf(snapshot)) subscriber.next(event);
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
    return this.#released ?? this.#shared.current;
  }

  cancel(): void {
    if (this.#released === undefined) this.#shared.owner.cancel();
  }

  reply(callId: string, reply: ToolReply): Promise<void> {
    return this.#shared.owner.reply(callId, reply);
  }

  release(): void {
    const shared = this.#shared;
    if (this.#released !== undefined || shared.isFinal) return;
    const snapshot = Object.freeze({
      ...shared.current,
      status: 'released',
      ahead: undefined,
    } as const);
    this.#released = snapshot;
    shared.release(this);
    shared.inTurn(() => this.#tell(snapshot, []));
  }

  [Symbol.asyncIterator](): AsyncGenerator<ResponseEvent, void, undefined> {
    return iterate(this.events$);
  }

  tell(snapshot: AnswerSnapshot, events: readonly ResponseEvent[]): void {
    if (this.#released === undefined) this.#tell(snapshot, events);
  }

  #tell(snapshot: AnswerSnapshot, events: readonly ResponseEvent[]): void {
    this.#told = snapshot;
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
    const isOver = isFinal(this.#told);
    if (!isOver) this.#listeners = [...this.#listeners, listener];
    this.#shared.now(() => {
      const told = this.#told;
      listener.replay(told);
      if (isOver) listener.complete(told);
    });
    return () => {
      this.#listeners = this.#listeners.filter((other) => other !== listener);
    };
  }
}
