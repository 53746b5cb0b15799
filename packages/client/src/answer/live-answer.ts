import { EVENT, StreamError } from '@rivulet/protocol';
import type { JournalEntry } from '../cache/journal.js';
import type { ClientStorage } from '../cache/client-storage.js';
import type { CachedAnswer, CacheTarget } from '../cache/response-cache.js';
import type { Connection } from '../connection/connection.js';
import type { End } from '../connection/log-segment.js';
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
import { type AnswerOwner, SharedAnswer } from './shared-answer.js';
import {
  CLIENT_CLOSED,
  type Failure,
  internalFailure,
  NOT_CACHED,
  phaseOfFailure,
} from './failure.js';
import { toCachedAnswer, fromCachedAnswer } from './cached-answer.js';
import { NOTHING_RECEIVED, toolsOf, withoutEnd } from './receive.js';
import { copyRequest, validateRequest, type StartRequest, toStartRequest } from './request.js';
import { replayEvents, type Phase, createSnapshot } from './snapshot.js';
import { createStopwatch } from './stopwatch.js';
import { type StreamPhase, type StreamListener, StreamReader } from './stream-reader.js';

/** The parts of a client that an answer depends on. */
export interface AnswerDependencies {
  connection: Connection;
  /** Undefined if the client stores nothing. */
  storage: ClientStorage | undefined;
  answers: ActiveAnswers;
}

/** The client forgets an answer without handles after this time. The server ends it after 2 s without readers. */
const RELEASE_TIMEOUT_MS = 5_000;

/**
 * The one answer of a client with a given id. Combines the response cache, the journal and the stream reader, and
 * passes snapshots to the handles of the answer.
 */
export class LiveAnswer implements AnswerOwner, StreamListener {
  readonly id: string;
  readonly #dependencies: AnswerDependencies;
  readonly #startRequest: StartRequest;
  readonly #cacheMode: CacheMode;
  readonly #isNew: boolean;
  readonly #reader: StreamReader;
  readonly #shared: SharedAnswer;
  /** Without its signal; only the query, if there is one, while `#knowsRequest` is false. */
  #request: AnswerRequest;
  #knowsRequest: boolean;
  #stopwatch = createStopwatch();
  /** Undefined if the answer is not to be cached, and until the cache key is known. */
  #cacheTarget: CacheTarget | undefined;
  #cached: CachedAnswer | undefined;
  #isActive = false;
  /** The progress of the last `queued` or `loading` event: the number of requests ahead, or `loading`. */
  #lastProgress: number | 'loading' = 0;
  #onJournalChange: ((isUrgent: boolean) => void) | undefined;
  #wasUnaccepted = true;
  #stopJournal: ((isOver: boolean) => void) | undefined;
  #releasedTimer: ReturnType<typeof setTimeout> | undefined;
  readonly #signal: AbortSignal | undefined;
  /** The tools that this page runs. */
  #tools: readonly ClientTool[];
  /** The newest list of calls whose waiting calls were started. */
  #checkedTools: readonly ToolUse[] | undefined;
  /** The calls that were started, by their ids. */
  readonly #startedCalls = new Map<string, AbortController>();
  /** Aborted when the answer is final. */
  readonly #toolAbort = new AbortController();
  #removeAbortListener = (): void => {};

  /** `isNew` is false for an answer that is running already; `request` is then as far as it is known. */
  constructor(id: string, request: AnswerRequest, dependencies: AnswerDependencies, isNew = true) {
    this.id = id;
    this.#dependencies = dependencies;
    this.#isNew = isNew;
    this.#startRequest = toStartRequest(id, randomId(), request);
    this.#request = copyRequest(request);
    this.#tools = request.tools ?? [];
    this.#knowsRequest = isNew;
    this.#cacheMode = request.options?.cache ?? 'default';
    this.#reader = new StreamReader(dependencies.connection, this.#startRequest, this, {
      isNew,
      waitsOnRateLimit: waitsOnRateLimit(request),
    });
    this.#shared = new SharedAnswer(this.#snapshot({ status: 'open' }), this);
    this.#signal = request.options?.signal;
    this.#addAbortListener();
    this.#begin().catch((error: unknown) => this.onError(internalFailure(error)));
  }

  get request(): AnswerRequest | undefined {
    return this.#knowsRequest ? this.#request : undefined;
  }

  get snapshot(): AnswerSnapshot {
    return this.#shared.current;
  }

  /** True while `active$` and the journal list the answer. */
  get isActive(): boolean {
    return this.#isActive;
  }

  /** The answer that the client has with this id now; a released one may have been replaced. */
  get current(): LiveAnswer {
    return this.#dependencies.answers.get(this.id) ?? this;
  }

  /** True if the server ended the answer because it had no readers for too long. */
  get wasAbandoned(): boolean {
    return this.#reader.hadEnded && this.snapshot.status !== 'done';
  }

  createHandle(): Answer {
    return this.#shared.createHandle();
  }

  cancel(): void {
    if (this.#shared.isFinal) return;
    this.#reader.cancel();
    this.#setPhase({ status: 'cancelled', timing: this.#stopwatch.timing() });
  }

  async reply(callId: string, reply: ToolReply): Promise<void> {
    const { sendToolReply } = await import('./send-tool-reply.js');
    const failure = await sendToolReply(
      this.#dependencies.connection,
      EVENT.toolReply,
      this.id,
      callId,
      reply,
      this.#toolAbort.signal,
    );
    if (failure) throw new StreamError(...failure);
  }

  /** Replaces the tools of this page, and runs the calls that wait for them. */
  runTools(tools: readonly ClientTool[] | undefined): void {
    if (!tools) return;
    this.#tools = tools;
    this.#runAwaitingCalls();
  }

  /** Detaches from the stream because the client is closed. The server ends it unless another client reads it. */
  close(): void {
    this.#reader.detach();
    this.#deactivate();
    this.onError(CLIENT_CLOSED);
  }

  onLastRelease(): void {
    // A question that no server has is not asked any more.
    if (this.#reader.isUnaccepted) this.#dependencies.answers.unlist(this.id);
    if (this.#reader.detach()) this.#deactivate();
    this.#releasedTimer = setTimeout(() => this.#dispose(), RELEASE_TIMEOUT_MS);
    (this.#releasedTimer as { unref?: () => void }).unref?.();
  }

  onFirstHandle(): void {
    clearTimeout(this.#releasedTimer);
    this.#dependencies.answers.add(this);
    this.#addAbortListener();
    this.#activateIf(this.#reader.resume());
  }

  #journalEntry(): JournalEntry | undefined {
    const cacheTarget = this.#cacheTarget;
    if (cacheTarget === undefined) return undefined;
    const { isUnaccepted, epoch, received } = this.#reader;
    // `toolEntries` lead to the tools.
    const { tools: _, ...kept } = withoutEnd(received);
    return {
      id: this.id,
      request: this.#request,
      cacheTarget,
      phase: isUnaccepted ? 'asking' : 'reading',
      retryAt: this.snapshot.retryAt,
      epoch,
      firstChunkMs: this.#stopwatch.firstChunkMs,
      received: kept,
    };
  }

  onUpdate(phase: StreamPhase, events?: readonly ResponseEvent[]): void {
    if (this.#reader.received.text !== '') this.#stopwatch.markText();
    this.#setPhase(phase, events);
    if (phase.status === 'open') this.#runAwaitingCalls();
  }

  onComplete({ timing: server, finishReason, usage }: End): void {
    const timing = { ...this.#stopwatch.timing(), server };
    this.#setPhase({ status: 'done', timing }, [{ type: 'end', finishReason, usage, timing }]);
    const answer = toCachedAnswer(this.#reader.received);
    if (answer === undefined || this.#cacheTarget === undefined) return;
    // An answer that cannot be validated or stored is not cached.
    this.#store(this.#cacheTarget, answer).catch(() => {});
  }

  /** Stores the answer in the response cache, unless the request has a schema that the text does not match. */
  async #store(target: CacheTarget, answer: CachedAnswer): Promise<void> {
    const { output } = this.#request;
    if (output !== undefined) {
      const { parseOutput } = await import('../output/parse-output.js');
      if ('message' in (await parseOutput(output, answer.text))) return;
    }
    await this.#dependencies.storage?.cache.put(target, answer);
  }

  #runAwaitingCalls(): void {
    const { tools } = this.snapshot;
    if (this.#tools.length === 0 || tools === this.#checkedTools || this.#shared.isFinal) return;
    this.#runTools(tools).catch(() => {});
  }

  /** Rejects if the module could not be loaded; the next snapshot tries again. */
  async #runTools(tools: readonly ToolUse[]): Promise<void> {
    const { runTools } = await import('./run-tools.js');
    this.#checkedTools = tools;
    runTools(tools, this.#tools, this.#startedCalls, this.#toolAbort.signal, this);
  }

  onError(failure: Failure): void {
    const { text } = this.#reader.received;
    this.#setPhase(phaseOfFailure(failure, text, this.#stopwatch.timing()));
  }

  async #begin(): Promise<void> {
    const refused = this.#isNew ? validateRequest(this.#startRequest) : undefined;
    if (refused !== undefined) return this.onError(refused);
    if (!(await (this.#isNew ? this.#beginStart() : this.#beginResume()))) return;
    if (this.snapshot.status === 'cancelled') {
      // Removes the entry that the page wrote to the journal before a reload.
      this.#activate();
      this.#deactivate(true);
    } else if (!this.#shared.isFinal) this.#activateIf(this.#reader.begin());
  }

  /** Does nothing if the client was closed: the answer has ended then. */
  #activateIf(isReading: boolean): void {
    if (isReading && !this.#shared.isFinal) this.#activate();
  }

  /** @returns false if the stream is not needed. */
  async #beginStart(): Promise<boolean> {
    const { storage } = this.#dependencies;
    const mode = this.#cacheMode;
    const askedAt = Date.now();
    // The results of tools are for this page only.
    if (storage !== undefined && mode !== 'no-store' && this.#tools.length === 0) {
      const key = await storage.cache.keyOf(this.#startRequest);
      const cached = mode === 'reload' ? undefined : await storage.cache.get(key);
      if (cached !== undefined) {
        this.#completeFromCache(cached);
        return false;
      }
      this.#cacheTarget = { key, askedAt, replaces: mode === 'reload' };
    }
    if (mode === 'only-if-cached') this.onError(NOT_CACHED);
    return mode !== 'only-if-cached';
  }

  async #beginResume(): Promise<boolean> {
    const entry = await this.#dependencies.storage?.journal.read(this.id);
    if (entry !== undefined && !this.#shared.isFinal) this.#restore(entry);
    return true;
  }

  #completeFromCache(answer: CachedAnswer): void {
    if (this.#shared.isFinal) return;
    this.#cached = answer;
    this.#stopwatch.markText();
    this.#replacePhase({ status: 'done', timing: this.#stopwatch.timing() });
  }

  #restore({
    request,
    cacheTarget,
    phase,
    retryAt,
    epoch,
    firstChunkMs,
    received,
  }: JournalEntry): void {
    const isNew = phase === 'asking';
    const start = toStartRequest(this.id, randomId(), request);
    this.#request = copyRequest(request);
    this.#knowsRequest = true;
    this.#cacheTarget = cacheTarget;
    this.#stopwatch = createStopwatch(Date.now() - cacheTarget.askedAt, firstChunkMs);
    const options = { isNew, waitsOnRateLimit: waitsOnRateLimit(request) };
    this.#reader.restore(
      start,
      {
        ...NOTHING_RECEIVED,
        ...received,
        ahead: 0,
        loading: undefined,
        tools: toolsOf(received.toolEntries),
      },
      epoch,
      options,
    );
    const invalid = isNew ? validateRequest(start) : undefined;
    if (invalid !== undefined) return this.onError(invalid);
    const isLimited = isNew && retryAt !== undefined && retryAt > Date.now();
    this.#replacePhase(isLimited ? { status: 'limited', retryAt } : { status: 'reconnecting' });
  }

  /** Adds the answer to `active$` and to the journal. */
  #activate(): void {
    this.#stopJournal ??= this.#dependencies.storage?.journal.record(
      this.id,
      (listener) => {
        this.#onJournalChange = listener;
        return () => (this.#onJournalChange = undefined);
      },
      () => this.#journalEntry(),
    );
    this.#isActive = true;
    this.#dependencies.answers.update();
  }

  #deactivate(isOver = false): void {
    this.#stopJournal?.(isOver);
    this.#stopJournal = undefined;
    this.#isActive = false;
    this.#dependencies.answers.update();
  }

  #dispose(isOver = false): void {
    clearTimeout(this.#releasedTimer);
    this.#dependencies.answers.remove(this);
    this.#deactivate(isOver);
    this.#removeAbortListener();
  }

  /** Shows what was there before anybody read it. */
  #replacePhase(phase: Phase): void {
    this.#setPhase(phase, replayEvents(this.#snapshot(phase)));
  }

  #setPhase(phase: Phase, events: readonly ResponseEvent[] = []): void {
    if (this.#shared.isFinal) return;
    const { status, tools } = this.snapshot;
    const snapshot = this.#snapshot(phase);
    this.#shared.next(snapshot, this.#withProgress(snapshot, events));
    const { isUnaccepted } = this.#reader;
    // Another page that goes on with it is not to ask again.
    this.#onJournalChange?.(this.#wasUnaccepted && !isUnaccepted);
    this.#wasUnaccepted = isUnaccepted;
    if (this.#shared.isFinal) this.#finish();
    else if (snapshot.status !== status || snapshot.tools !== tools)
      this.#dependencies.answers.update();
  }

  /** Adds what has changed about the queue or the loading of the model. */
  #withProgress(
    { status, ahead, loading }: AnswerSnapshot,
    events: readonly ResponseEvent[],
  ): readonly ResponseEvent[] {
    const isItsTurn = status === 'waiting' || status === 'streaming';
    const progress = loading === undefined ? (ahead ?? (isItsTurn ? 0 : undefined)) : 'loading';
    // While the connection is away nothing is known: the queue moves on.
    if (progress === undefined || progress === this.#lastProgress) return events;
    this.#lastProgress = progress;
    if (progress !== 'loading') return [{ type: 'queued', ahead: progress }, ...events];
    return loading === undefined ? events : [{ type: 'loading', ...loading }, ...events];
  }

  /** It is final: nothing is read any more, and later readers get it from the server's log. */
  #finish(): void {
    this.#reader.stop();
    this.#toolAbort.abort();
    this.#dispose(true);
  }

  #snapshot(phase: Phase): AnswerSnapshot {
    const asked = {
      id: this.id,
      query: this.#request.query,
      isCached: this.#cached !== undefined,
      requestId: this.#reader.requestId,
    };
    const received = this.#cached ? fromCachedAnswer(this.#cached) : this.#reader.received;
    return createSnapshot(asked, received, phase);
  }

  #addAbortListener(): void {
    const signal = this.#signal;
    if (signal === undefined) return;
    this.#removeAbortListener();
    const cancel = (): void => this.cancel();
    signal.addEventListener('abort', cancel);
    this.#removeAbortListener = () => signal.removeEventListener('abort', cancel);
    if (signal.aborted) cancel();
  }
}

function waitsOnRateLimit({ options }: AnswerRequest): boolean {
  return options?.onRateLimit === 'wait';
}
