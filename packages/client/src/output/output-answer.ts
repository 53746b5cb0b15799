import { StreamError } from '@rivulet/protocol';
import { Observable, Subscription } from 'rxjs';
import { textsOf } from '../answer/shared-answer.js';
import { internalFailure } from '../answer/failure.js';
import { iterate } from '../answer/iterate.js';
import { failureOf, isFinal } from '../answer/snapshot.js';
import { createStateSubject } from '../state-subject.js';
import type {
  Answer,
  AnswerRequest,
  AnswerSnapshot,
  DeepPartial,
  OutputAnswer,
  ResponseEvent,
  Schema,
  ToolReply,
} from '../types.js';

/**
 * An answer whose text is JSON of a schema. The first answer that does not validate is asked again, as a
 * stream of its own; the second one fails.
 */
export class AnswerWithOutput<T> implements OutputAnswer<T> {
  readonly state$: Observable<AnswerSnapshot>;
  readonly text$: Observable<string>;
  readonly events$: Observable<ResponseEvent>;
  readonly partial$: Observable<DeepPartial<T>>;
  readonly output: Promise<T>;
  readonly result: Promise<AnswerSnapshot>;
  readonly #schema: Schema<T>;
  readonly #states = createStateSubject<AnswerSnapshot>();
  readonly #answers = createStateSubject<Answer>();
  #snapshot: AnswerSnapshot;
  #answer: Answer;
  /** The request of the second attempt; undefined once it was sent. */
  #askAgain: (() => Answer) | undefined;
  #subscription = new Subscription();
  #isFinished = false;
  #settle!: { resolve(output: T): void; reject(error: unknown): void };

  constructor(first: Answer, schema: Schema<T>, askAgain: (() => Answer) | undefined) {
    this.#schema = schema;
    this.#askAgain = askAgain;
    this.#answer = first;
    this.#snapshot = first.getSnapshot();
    this.output = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    this.state$ = this.#states.value$;
    this.result = this.output
      .catch((error: unknown) => {
        if (this.#snapshot.error !== undefined) throw error;
      })
      .then(() => this.#snapshot);
    this.result.catch(() => {});
    this.text$ = textsOf(this.state$);
    const sources = { answers$: this.#answers.value$, state$: this.state$, failureOf };
    this.events$ = new Observable((subscriber) => {
      load().then(
        ({ emitEvents }) => emitEvents(sources, subscriber),
        (error: unknown) => subscriber.error(error),
      );
    });
    this.partial$ = new Observable((subscriber) => {
      load().then(
        ({ emitPartials }) => emitPartials(this.events$, subscriber),
        () => subscriber.complete(),
      );
    });
    this.#follow(first);
  }

  get id(): string {
    return this.#answer.id;
  }

  get request(): AnswerRequest | undefined {
    return this.#answer.request;
  }

  getSnapshot(): AnswerSnapshot {
    return this.#snapshot;
  }

  cancel(): void {
    this.#askAgain = undefined;
    this.#answer.cancel();
    // The text may be complete while it is being validated.
    const ended = { status: 'cancelled', finishReason: undefined, error: undefined } as const;
    this.#finish({ ...this.#answer.getSnapshot(), ...ended });
  }

  release(): void {
    this.#askAgain = undefined;
    this.#answer.release();
  }

  reply(callId: string, reply: ToolReply): Promise<void> {
    return this.#answer.reply(callId, reply);
  }

  [Symbol.asyncIterator](): AsyncGenerator<ResponseEvent, void, undefined> {
    return iterate(this.events$);
  }

  #follow(answer: Answer): void {
    this.#answer = answer;
    this.#answers.next(answer);
    this.#subscription.unsubscribe();
    this.#subscription = answer.state$.subscribe((snapshot) => {
      if (snapshot.status === 'done')
        this.#validate(snapshot).catch((cause: unknown) =>
          this.#fail(snapshot, internalFailure(cause)),
        );
      else if (isFinal(snapshot)) this.#finish(snapshot);
      else this.#emit(snapshot);
    });
  }

  async #validate(snapshot: AnswerSnapshot): Promise<void> {
    const { parseOutput } = await import('./parse-output.js');
    const parsed = await parseOutput(this.#schema, snapshot.text);
    if (this.#isFinished) return;
    if ('value' in parsed) {
      this.#settle.resolve(parsed.value);
      return this.#finish(snapshot);
    }
    const next = this.#askAgain?.();
    this.#askAgain = undefined;
    if (next) return this.#follow(next);
    this.#fail(snapshot, parsed);
  }

  #fail(snapshot: AnswerSnapshot, { message, cause }: { message: string; cause?: unknown }): void {
    const partialText = snapshot.text;
    const error = new StreamError('invalid_output', message, { cause, partialText });
    this.#finish({ ...snapshot, status: 'failed', finishReason: undefined, error });
  }

  #emit(snapshot: AnswerSnapshot): void {
    this.#snapshot = Object.freeze(snapshot);
    this.#states.next(snapshot);
  }

  #finish(snapshot: AnswerSnapshot): void {
    if (this.#isFinished) return;
    this.#isFinished = true;
    // This also runs for a released handle, whose answer has no end of its own.
    const { error } = snapshot;
    this.#settle.reject(error ?? failureOf({ ...snapshot, status: 'cancelled' }));
    this.#emit(snapshot);
    this.#states.complete();
  }
}

const load = () => import('./output-events.js');
