import { EVENT, StreamError } from '@rivulet/protocol';
import type { JournalEntry } from '../cache/journal.js';
import type { Memory } from '../cache/memory.js';
import type { CachedAnswer, CacheTarget } from '../cache/response-cache.js';
import type { Connection } from '../connection/link.js';
import type { End } from '../connection/frame.js';
import { randomId } from '../random-id.js';
import type {
  Answer,
  AnswerRequest,
  AnswerSnapshot,
  CacheMode,
  ClientTool,
  ResponseEvent,
  ToolReply,
  ToolUse,
} from '../types.js';
import type { ActiveAnswers } from './active-answers.js';
import { type AnswerOwner, SharedAnswer } from './answer.js';
import {
  CLIENT_CLOSED,
  type Failure,
  internalFailure,
  NOT_KEPT,
  phaseOfFailure,
} from './failure.js';
import { keepable, receivedOf } from './keepable.js';
import { withoutEnd } from './receive.js';
import { copyOf, refusal, type StartRequest, startRequest } from './request.js';
import { eventsOf, type Phase, snapshotOf } from './snapshot.js';
import { createStopwatch } from './stopwatch.js';
import { type Moved, type StreamListener, StreamReader } from './stream-reader.js';

/** The parts of a client that an answer uses. */
export interface Surroundings {
  connection: Connection;
  /** Undefined where nothing is to be kept. */
  memory: Memory | undefined;
  answers: ActiveAnswers;
}

/** Without handles, an answer is kept for this long: the server waits two seconds for a reader. */
const RELEASED_MS = 5_000;

/**
 * The one answer of a client under an id: what this browser keeps of it, what the stream reader reads, and
 * what its handles are told.
 */
export class LiveAnswer implements AnswerOwner, StreamListener {
  readonly id: string;
  readonly #around: Surroundings;
  readonly #start: StartRequest;
  readonly #cacheMode: CacheMode;
  readonly #asks: boolean;
  readonly #reader: StreamReader;
  readonly #shared: SharedAnswer;
  /** Without its signal; only the query, if there is one, while `#knowsRequest` is false. */
  #request: AnswerRequest;
  #knowsRequest: boolean;
  #stopwatch = createStopwatch();
  /** Undefined if nothing of it is to be kept, or as long as that is not known. */
  #keeping: CacheTarget | undefined;
  #kept: CachedAnswer | undefined;
  #isListed = false;
  /** The number of requests ahead, or the loading, that was told last. */
  #toldNews: number | 'loading' = 0;
  #onChange: ((isUrgent: boolean) => void) | undefined;
  #wasAsking = true;
  #stopJournal: ((isOver: boolean) => void) | undefined;
  #releasedTimer: ReturnType<typeof setTimeout> | undefined;
  readonly #signal: AbortSignal | undefined;
  /** The tools that this page runs. */
  #tools: readonly ClientTool[];
  /** The newest tools whose waiting calls are run. */
  #seenTools: readonly ToolUse[] | undefined;
  /** The calls that were run. */
  readonly #runs = new Set<string>();
  /** Aborts when the answer is final. */
  readonly #ended = new AbortController();
  #forgetSignal = (): void => {};

  /** `asks` is false for an answer that is under way, of which `request` has what is known. */
  constructor(id: string, request: AnswerRequest, around: Surroundings, asks = true) {
    this.id = id;
    this.#around = around;
    this.#asks = asks;
    this.#start = startRequest(id, randomId(), request);
    this.#request = copyOf(request);
    this.#tools = request.tools ?? [];
    this.#knowsRequest = asks;
    this.#cacheMode = request.options?.cache ?? 'default';
    this.#reader = new StreamReader(around.connection, this.#start, this, {
      asks,
      waitsWhenLimited: waitsWhenLimited(request),
    });
    this.#shared = new SharedAnswer(this.#snapshot({ status: 'open' }), this);
    this.#signal = request.options?.signal;
    this.#followSignal();
    this.#begin().catch((error: unknown) => this.failed(internalFailure(error)));
  }

  get request(): AnswerRequest | undefined {
    return this.#knowsRequest ? this.#request : undefined;
  }

  get snapshot(): AnswerSnapshot {
    return this.#shared.current;
  }

  get sessionId(): string | undefined {
    return this.#request.sessionId;
  }

  /** True while it is read, or is about to be. */
  get isListed(): boolean {
    return this.#isListed;
  }

  /** The answer that the client has under this id now. */
  get current(): LiveAnswer {
    return this.#around.answers.get(this.id) ?? this;
  }

  /** True if it ended because all had released it for longer than the server waits. */
  get wasGivenUp(): boolean {
    return this.#reader.hadEnded && this.snapshot.status !== 'done';
  }

  /** @returns a handle of its own for one reader. */
  lease(): Answer {
    return this.#shared.lease();
  }

  cancel(): void {
    if (this.#shared.isFinal) return;
    this.#reader.cancel();
    this.#show({ status: 'cancelled', timing: this.#stopwatch.timing() });
  }

  async reply(callId: string, reply: ToolReply): Promise<void> {
    const { sendReply } = await import('./send-reply.js');
    const failure = await sendReply(
      this.#around.connection,
      EVENT.toolReply,
      { stream_id: this.id, call_id: callId, ...reply },
      this.#shared.isFinal,
    );
    if (failure) throw new StreamError(failure.code, failure.message, failure);
  }

  /** Runs the waiting calls of these tools in this page. */
  runTools(tools: readonly ClientTool[] | undefined): void {
    if (!tools) return;
    this.#tools = tools;
    this.#runWaiting();
  }

  /** The client is closed: the server is told, and ends the answer unless another client reads it. */
  close(): void {
    this.#reader.detach();
    this.#unlist();
    this.failed(CLIENT_CLOSED);
  }

  onReleased(): void {
    if (this.#reader.detach()) this.#unlist();
    this.#releasedTimer = setTimeout(() => this.#forget(), RELEASED_MS);
    (this.#releasedTimer as { unref?: () => void }).unref?.();
  }

  onLeased(): void {
    clearTimeout(this.#releasedTimer);
    this.#around.answers.add(this);
    this.#followSignal();
    if (this.#reader.comeBack()) this.#list();
  }

  #entry(): JournalEntry | undefined {
    const keeping = this.#keeping;
    if (keeping === undefined) return undefined;
    const { isAsking, epoch, received } = this.#reader;
    return {
      id: this.id,
      request: this.#request,
      keeping,
      phase: isAsking ? 'asking' : 'reading',
      retryAt: this.snapshot.retryAt,
      epoch,
      firstChunkMs: this.#stopwatch.firstChunkMs,
      received: withoutEnd(received),
    };
  }

  moved(phase: Moved, events?: readonly ResponseEvent[]): void {
    if (this.#reader.received.text !== '') this.#stopwatch.noteText();
    this.#show(phase, events);
    if (phase.status === 'open') this.#runWaiting();
  }

  finished({ timing: server, finishReason, usage }: End): void {
    const timing = { ...this.#stopwatch.timing(), server };
    this.#show({ status: 'done', timing }, [{ type: 'end', finishReason, usage, timing }]);
    const answer = keepable(this.#reader.received);
    if (answer === undefined || this.#keeping === undefined) return;
    // An answer that could not be validated or stored is not kept.
    this.#keep(this.#keeping, answer).catch(() => {});
  }

  /** Keeps the answer unless its request has an output that it is not. */
  async #keep(keeping: CacheTarget, answer: CachedAnswer): Promise<void> {
    const { output } = this.#request;
    if (output !== undefined) {
      const { parseOutput } = await import('../output/parse-output.js');
      if ('message' in (await parseOutput(output, answer.text))) return;
    }
    await this.#around.memory?.answers.put(keeping, answer);
  }

  #runWaiting(): void {
    const { tools } = this.snapshot;
    if (this.#tools.length === 0 || tools === this.#seenTools || this.#shared.isFinal) return;
    this.#runTools(tools).catch(() => {});
  }

  /** Rejects if the file could not be loaded; the next snapshot tries again. */
  async #runTools(tools: readonly ToolUse[]): Promise<void> {
    const { runTools } = await import('./run-tools.js');
    this.#seenTools = tools;
    runTools(tools, this.#tools, this.#runs, this.#ended.signal, this);
  }

  failed(failure: Failure): void {
    const { text } = this.#reader.received;
    this.#show(phaseOfFailure(failure, text, this.#stopwatch.timing()));
  }

  async #begin(): Promise<void> {
    const refused = this.#asks ? refusal(this.#start) : undefined;
    if (refused !== undefined) return this.failed(refused);
    if (!(await (this.#asks ? this.#beginAsk() : this.#beginResume()))) return;
    if (this.snapshot.status === 'cancelled') {
      // Removes what the page before a reload wrote to the journal.
      this.#list();
      this.#unlist(true);
    } else if (!this.#shared.isFinal && this.#reader.begin()) this.#list();
  }

  /** @returns false if the stream is not needed. */
  async #beginAsk(): Promise<boolean> {
    const { memory } = this.#around;
    const mode = this.#cacheMode;
    const askedAt = Date.now();
    // Tools of a page act for it alone.
    if (memory !== undefined && mode !== 'no-store' && this.#tools.length === 0) {
      const key = await memory.answers.keyOf(this.#start);
      const kept = mode === 'reload' ? undefined : await memory.answers.get(key);
      if (kept !== undefined) {
        this.#showKept(kept);
        return false;
      }
      this.#keeping = { key, askedAt, replaces: mode === 'reload' };
    }
    if (mode === 'only-if-cached') this.failed(NOT_KEPT);
    return mode !== 'only-if-cached';
  }

  async #beginResume(): Promise<boolean> {
    const entry = await this.#around.memory?.journal.read(this.id);
    if (entry !== undefined && !this.#shared.isFinal) this.#goOnFrom(entry);
    return true;
  }

  #showKept(answer: CachedAnswer): void {
    if (this.#shared.isFinal) return;
    this.#kept = answer;
    this.#stopwatch.noteText();
    this.#showAll({ status: 'done', timing: this.#stopwatch.timing() });
  }

  #goOnFrom({
    request,
    keeping,
    phase,
    retryAt,
    epoch,
    firstChunkMs,
    received,
  }: JournalEntry): void {
    const asks = phase === 'asking';
    const start = startRequest(this.id, randomId(), request);
    this.#request = copyOf(request);
    this.#knowsRequest = true;
    this.#keeping = keeping;
    this.#stopwatch = createStopwatch(Date.now() - keeping.askedAt, firstChunkMs);
    const options = { asks, waitsWhenLimited: waitsWhenLimited(request) };
    this.#reader.goOnFrom(start, { thoughts: '', ...received, ...NOT_STORED }, epoch, options);
    const refused = asks ? refusal(start) : undefined;
    if (refused !== undefined) return this.failed(refused);
    const isLimited = asks && retryAt !== undefined && retryAt > Date.now();
    this.#showAll(isLimited ? { status: 'limited', retryAt } : { status: 'reconnecting' });
  }

  /** From now on `active$` and the journal have it. */
  #list(): void {
    this.#stopJournal ??= this.#around.memory?.journal.follow(
      this.id,
      (listener) => {
        this.#onChange = listener;
        return () => (this.#onChange = undefined);
      },
      () => this.#entry(),
    );
    this.#isListed = true;
    this.#around.answers.changed();
  }

  #unlist(isOver = false): void {
    this.#stopJournal?.(isOver);
    this.#stopJournal = undefined;
    this.#isListed = false;
    this.#around.answers.changed();
  }

  #forget(isOver = false): void {
    clearTimeout(this.#releasedTimer);
    this.#around.answers.remove(this);
    this.#unlist(isOver);
    this.#forgetSignal();
  }

  /** Shows what was there before anybody read it. */
  #showAll(phase: Phase): void {
    this.#show(phase, eventsOf(this.#snapshot(phase)));
  }

  #show(phase: Phase, events: readonly ResponseEvent[] = []): void {
    if (this.#shared.isFinal) return;
    const { status, tools } = this.snapshot;
    const snapshot = this.#snapshot(phase);
    this.#shared.next(snapshot, this.#withNews(snapshot, events));
    const { isAsking } = this.#reader;
    // Another page that goes on with it is not to ask again.
    this.#onChange?.(this.#wasAsking && !isAsking);
    this.#wasAsking = isAsking;
    if (this.#shared.isFinal) this.#end();
    else if (snapshot.status !== status || snapshot.tools !== tools) this.#around.answers.changed();
  }

  /** Adds what has changed about the queue or the loading of the model. */
  #withNews(
    { status, ahead, loading }: AnswerSnapshot,
    events: readonly ResponseEvent[],
  ): readonly ResponseEvent[] {
    const isItsTurn = status === 'waiting' || status === 'streaming';
    const news = loading === undefined ? (ahead ?? (isItsTurn ? 0 : undefined)) : 'loading';
    // While the connection is away nothing is known: the queue moves on.
    if (news === undefined || news === this.#toldNews) return events;
    this.#toldNews = news;
    if (news !== 'loading') return [{ type: 'queued', ahead: news }, ...events];
    return loading === undefined ? events : [{ type: 'loading', ...loading }, ...events];
  }

  /** It is final: nothing is read any more, and later readers get it from the server's log. */
  #end(): void {
    this.#reader.stop();
    this.#ended.abort();
    this.#forget(true);
  }

  #snapshot(phase: Phase): AnswerSnapshot {
    const asked = {
      id: this.id,
      query: this.#request.query,
      kept: this.#kept !== undefined,
      requestId: this.#reader.requestId,
    };
    const received = this.#kept ? receivedOf(this.#kept) : this.#reader.received;
    return snapshotOf(asked, received, phase);
  }

  #followSignal(): void {
    const signal = this.#signal;
    if (signal === undefined) return;
    this.#forgetSignal();
    const cancel = (): void => this.cancel();
    signal.addEventListener('abort', cancel);
    this.#forgetSignal = () => signal.removeEventListener('abort', cancel);
    if (signal.aborted) cancel();
  }
}

/** The journal does not keep these parts of an answer. */
const NOT_STORED = { ahead: 0, loading: undefined, terminal: undefined };

function waitsWhenLimited({ options }: AnswerRequest): boolean {
  return options?.onRateLimit === 'wait';
}
