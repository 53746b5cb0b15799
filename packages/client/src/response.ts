import { createAnswer } from './answer.js';
import { SnapshotState } from './answer-state.js';
import { type Beginning, beginningOfAsk, beginningOfAttach } from './beginning.js';
import type { JournalEntry } from './cache/journal.js';
import { keepable, receivedOf } from './cache/keepable.js';
import type { Memory } from './cache/memory.js';
import type { KeptAnswer, Keeping } from './cache/response-cache.js';
import type { Connection } from './connection.js';
import { Cursor, type CursorListener, type Moved } from './cursor.js';
import { type Failure, NO_QUESTION, NOT_KEPT, phaseOfFailure } from './failure.js';
import { randomId } from './random-id.js';
import { type End, withoutEnd } from './receive.js';
import { refusal, type StartRequest, startRequest } from './request.js';
import type { Running, RunningAnswer } from './running.js';
import { type Phase, snapshotOf } from './snapshot.js';
import { createStopwatch } from './stopwatch.js';
import type { Answer, AnswerSnapshot, AnswerRequest, CacheMode } from './types.js';

/** What a response needs of its client. */
export interface Surroundings {
  connection: Connection;
  /** Undefined where nothing is to be kept. */
  memory: Memory | undefined;
  running: Running;
}

/** One response: what this browser keeps of it, what a cursor reads, and the answer that comes of both. */
export class LiveResponse implements CursorListener, RunningAnswer {
  readonly answer: Answer;
  readonly #around: Surroundings;
  readonly #request: StartRequest;
  readonly #cacheMode: CacheMode;
  readonly #asks: boolean;
  readonly #cursor: Cursor;
  readonly #state: SnapshotState;
  #stopwatch = createStopwatch();
  #query: string;
  #sessionId: string | undefined;
  /** Undefined if nothing of it is to be kept, or as long as that is not known. */
  #keeping: Keeping | undefined;
  #kept: KeptAnswer | undefined;
  #unlist: (() => void) | undefined;
  #forgetSignal = (): void => {};

  /** `asks` is false for an answer that is under way, of which `ask` has what is known. */
  constructor(id: string, ask: AnswerRequest, around: Surroundings, asks = true) {
    this.#around = around;
    this.#asks = asks;
    this.#request = startRequest(id, randomId(), ask);
    this.#cacheMode = ask.options?.cache ?? 'default';
    this.#query = ask.query;
    this.#sessionId = ask.sessionId;
    this.#cursor = new Cursor(around.connection, this.#request, this, {
      asks,
      waitsWhenLimited: ask.options?.onRateLimit === 'wait',
    });
    const state = new SnapshotState(this.#snapshot({ status: 'open' }));
    this.#state = state;
    const getSnapshot = (): AnswerSnapshot => state.current;
    this.answer = createAnswer(state.snapshots$, getSnapshot, {
      cancel: () => this.#cancel(),
      release: () => this.release(),
      resume: () => this.resume(),
    });
    // Whoever attaches to it meanwhile is to have this one.
    if (!asks) this.#list();
    this.#followSignal(ask.options?.signal);
    this.#begin().catch(() => this.failed(NO_QUESTION));
  }

  /** Stops reading; the server ends the stream soon unless another reads it. */
  release(): void {
    if (!this.#state.isFinal && this.#cursor.detach()) this.#delist();
  }

  /** Reads on after `release()`. */
  resume(): void {
    if (this.#cursor.comeBack()) this.#list();
  }

  /**
   * Whether it is over because all here had left it for longer than the server waits, and not because
   * someone ended it.
   */
  get wasGivenUp(): boolean {
    return this.#cursor.hadEnded && this.#state.current.status !== 'done';
  }

  get sessionId(): string | undefined {
    return this.#sessionId;
  }

  entry(): Omit<JournalEntry, 'writtenAt'> | undefined {
    return (
      this.#keeping && {
        id: this.answer.id,
        query: this.#query,
        sessionId: this.#sessionId,
        keeping: this.#keeping,
        firstChunkMs: this.#stopwatch.firstChunkMs,
        received: withoutEnd(this.#cursor.received),
      }
    );
  }

  moved(phase: Moved): void {
    if (this.#cursor.received.text !== '') this.#stopwatch.noteText();
    this.#show(phase);
  }

  finished({ timing: server }: End): void {
    this.#show({ status: 'done', timing: { ...this.#stopwatch.timing(), server } });
    const answer = keepable(this.#cursor.received);
    if (answer === undefined || this.#keeping === undefined) return;
    void this.#around.memory?.answers.put(this.#keeping, answer);
  }

  failed(failure: Failure): void {
    const { text } = this.#cursor.received;
    this.#show(phaseOfFailure(failure, text, this.#stopwatch.timing()));
  }

  async #begin(): Promise<void> {
    const { memory } = this.#around;
    const refused = this.#asks ? refusal(this.#request) : undefined;
    if (refused !== undefined) return this.failed(refused);
    const beginning = await (this.#asks
      ? beginningOfAsk(this.#request, this.#cacheMode, memory)
      : beginningOfAttach(this.answer.id, memory));
    if (this.#state.isFinal) return;
    this.#beginWith(beginning);
    if (!this.#state.isFinal && this.#cursor.begin()) this.#list();
  }

  #beginWith(beginning: Beginning): void {
    switch (beginning.status) {
      case 'kept':
        return this.#showKept(beginning.answer);
      case 'journalled':
        return this.#goOnFrom(beginning.entry);
      case 'nothing':
        if (this.#cacheMode === 'only-if-cached') return this.failed(NOT_KEPT);
        this.#keeping = beginning.keeping;
    }
  }

  #showKept(answer: KeptAnswer): void {
    this.#kept = answer;
    this.#stopwatch.noteText();
    this.#show({ status: 'done', timing: this.#stopwatch.timing() });
  }

  #goOnFrom({ query, sessionId, keeping, firstChunkMs, received }: JournalEntry): void {
    this.#query = query;
    this.#sessionId = sessionId;
    this.#keeping = keeping;
    this.#stopwatch = createStopwatch(Date.now() - keeping.askedAt, firstChunkMs);
    this.#cursor.goOnFrom(received);
    this.#show({ status: 'reconnecting' });
  }

  #cancel(): void {
    if (this.#state.isFinal) return;
    this.#cursor.cancel();
    this.#show({ status: 'cancelled', timing: this.#stopwatch.timing() });
  }

  /** A client that is closed ends it while it begins. */
  #list(): void {
    if (!this.#state.isFinal) this.#unlist ??= this.#around.running.add(this);
  }

  #delist(): void {
    this.#unlist?.();
    this.#unlist = undefined;
  }

  #show(phase: Phase): void {
    if (!this.#state.next(this.#snapshot(phase))) return;
    this.#cursor.stop();
    this.#delist();
    this.#forgetSignal();
  }

  #snapshot(phase: Phase): AnswerSnapshot {
    const asked = {
      id: this.#request.stream_id,
      query: this.#query,
      kept: this.#kept !== undefined,
      requestId: this.#cursor.requestId,
    };
    const received = this.#kept ? receivedOf(this.#kept) : this.#cursor.received;
    return snapshotOf(asked, received, phase);
  }

  #followSignal(signal: AbortSignal | undefined): void {
    if (signal === undefined) return;
    const cancel = (): void => this.#cancel();
    signal.addEventListener('abort', cancel);
    this.#forgetSignal = () => signal.removeEventListener('abort', cancel);
    if (signal.aborted) cancel();
  }
}
