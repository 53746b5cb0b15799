import type {
  FinishReason,
  Intent,
  StreamError,
  Timing,
  ContextMessage,
  Usage,
} from '@rivulet/protocol';
import type { Observable } from 'rxjs';

/** Where an answer came from. */
export type AnswerSource = 'model' | 'server-cache' | 'browser-cache';

/** The words of fetch: how this browser's and the server's response caches take part. */
export type CacheMode = 'default' | 'reload' | 'no-store' | 'only-if-cached';

export interface AnswerOptions {
  temperature?: number;
  topP?: number;
  topK?: number;
  /** Tokens; the server's own limit holds when it is smaller. */
  maxTokens?: number;
  /** The answer ends before the first of these texts. */
  stop?: readonly string[];
  /** The same request gives the same answer, where the model can do that. */
  seed?: number;
  /**
   * - `default`: a kept answer if there is one, else the model
   * - `reload`: the model, and its answer replaces the kept one
   * - `no-store`: the model, and nothing is read or kept
   * - `only-if-cached`: an answer kept in this browser, else a `not_found` error; nothing is sent
   */
  cache?: CacheMode;
  /**
   * What a server that is asked too often does to the question: `fail` with `rate_limited`, unless
   * given, or `wait` until it may be asked. `retryAt` of the snapshot says until when.
   */
  onRateLimit?: 'fail' | 'wait';
  /** Aborting cancels the answer, as `cancel()` does. */
  signal?: AbortSignal;
}

export interface AnswerRequest {
  query: string;
  /** Earlier messages of the conversation, oldest first. */
  context?: readonly ContextMessage[];
  intent?: Intent;
  /** The caller's own name for the conversation; it comes back in every message. */
  sessionId?: string;
  options?: AnswerOptions;
}

/** One thing that happened to an answer, in order. */
export type ResponseEvent =
  | {
      type: 'start';
      /** 1 for the first; each further one begins the text again. */
      attempt: number;
      source: AnswerSource;
      provider: string;
      model: string;
      reason?: string;
    }
  | { type: 'text'; text: string }
  | {
      type: 'queued';
      /** Requests that are before this one; again whenever that changes, 0 when it is its turn. */
      ahead: number;
    }
  | ToolCallEvent
  | ToolResultEvent
  | { type: 'end'; finishReason: FinishReason; usage: Usage; timing: AnswerTiming };

/** The model called a tool, which now runs at the server. Arguments are what the model said. */
export interface ToolCallEvent {
  type: 'tool_call';
  callId: string;
  name: string;
  arguments: unknown;
}

/** A call has ended: `error` is there if it failed, else `result`. */
export interface ToolResultEvent {
  type: 'tool_result';
  callId: string;
  name: string;
  result?: unknown;
  error?: string;
}

/** A tool that the model called for an answer. Frozen; the same object until something changes. */
export interface ToolUse {
  readonly callId: string;
  readonly name: string;
  /** What the model said, as JSON; nobody but the tool has checked it. */
  readonly arguments: unknown;
  readonly status: 'running' | 'done' | 'failed';
  /** As JSON; there when `status` is `done`. */
  readonly result?: unknown;
  /** In plain words; there when `status` is `failed`. */
  readonly error?: string;
  /** UTF-16 units of `text` that came before the call: its place in the text. */
  readonly textBefore: number;
}

/** Milliseconds by this browser's monotonic clock, from the ask to the first text and to the end. */
export interface AnswerTiming {
  firstChunkMs?: number;
  totalMs: number;
  /** The server's own figures; absent for an answer kept in this browser. */
  server?: Timing;
}

/**
 * - `queued`: others are before it; `ahead` says how many
 * - `waiting`: asked, no text yet
 * - `streaming`: text is coming
 * - `reconnecting`: the connection is being restored; the text so far stands
 * - `done`, `cancelled`, `failed`: final
 */
export type AnswerStatus =
  | 'queued'
  | 'waiting'
  | 'streaming'
  | 'reconnecting'
  | 'done'
  | 'cancelled'
  | 'failed';

/** An answer at one moment. Frozen; the same object until something changes. */
export interface AnswerSnapshot {
  readonly id: string;
  readonly query: string;
  readonly status: AnswerStatus;
  /** Requests that are before this one, at least 1; undefined unless `status` is `queued`. */
  readonly ahead: number | undefined;
  readonly text: string;
  /** In the order of the calls. A text that begins again keeps them: tools are not run twice. */
  readonly tools: readonly ToolUse[];
  /** 0 until the first attempt begins. */
  readonly attempt: number;
  /** The next four are undefined until the first attempt begins. */
  readonly source: AnswerSource | undefined;
  readonly provider: string | undefined;
  readonly model: string | undefined;
  /** Why the text began again, when it did. */
  readonly restartReason: string | undefined;
  /** Names the answer in the server's log, for a user to tell to support; undefined until the server has it. */
  readonly requestId: string | undefined;
  readonly finishReason: FinishReason | undefined;
  readonly usage: Usage | undefined;
  /**
   * When it is asked again by itself (`waiting`), or when asking again makes sense (`failed`), where the
   * server has said so; milliseconds since 1970, for a countdown.
   */
  readonly retryAt: number | undefined;
  /** Undefined until the answer is final. */
  readonly timing: AnswerTiming | undefined;
  /** Set when `status` is `failed`. */
  readonly error: StreamError | undefined;
}

/** One answer, for views. All its Observables are hot and replay what there is to each subscriber. */
export interface Answer extends AsyncIterable<ResponseEvent> {
  readonly id: string;
  /** The newest snapshot at once, then each change; completes after the final one; never errors. */
  readonly state$: Observable<AnswerSnapshot>;
  /** The whole text so far, each time it grows or begins again; completes with the answer; never errors. */
  readonly text$: Observable<string>;
  /** What happened, from the start of the attempt on; errors with a `StreamError`. */
  readonly events$: Observable<ResponseEvent>;
  getSnapshot(): AnswerSnapshot;
  /** Ends the answer for all who read it; the text so far stays. Nothing happens once it is final. */
  cancel(): void;
  /**
   * Stops reading here until `resume()`. The server ends the answer two seconds later unless someone
   * reads it by then. Nothing happens a second time.
   */
  release(): void;
  /** Reads on after `release()`, to its end if the answer has ended meanwhile; else nothing happens. */
  resume(): void;
  /**
   * Resolves with the final snapshot when the answer is done or cancelled; rejects with a
   * `StreamError` when it failed. Never unhandled: ignoring it is fine.
   */
  readonly result: Promise<AnswerSnapshot>;
}

export type ConnectionStatus = 'connecting' | 'connected' | 'reconnecting' | 'offline' | 'closed';

/** An answer that is still being generated for this user: here, in another tab, on another device. */
export interface ActiveAnswer {
  readonly id: string;
  /** Its first 256 UTF-16 units. */
  readonly query: string;
  readonly sessionId: string | undefined;
  readonly status: Exclude<AnswerStatus, 'done' | 'cancelled' | 'failed'>;
}

export interface CacheOptions {
  /**
   * Keeps the answers of one user apart from another's; give your user's id. With `auth` and without it
   * nothing is kept, since the next user of this browser would find it.
   */
  namespace?: string;
  /** Seconds that an answer is kept; a day unless given. */
  maxAgeSeconds?: number;
  /** Answers kept; the least recently used leaves first. 500 unless given. */
  maxEntries?: number;
  /** Bytes of the answers kept, and of one; 32 MiB unless given. */
  maxBytes?: number;
}

export interface ClientOptions {
  /** The server, such as `https://chat.example`; the page's own origin unless given. */
  url?: string;
  /** The path of Socket.IO's requests, as `SOCKET_PATH` of the server has it; `/socket.io` unless given. */
  path?: string;
  /**
   * A token for the server's `authenticate`; called at every connect, with `refused` when the server
   * did not take the last one. A second one refused fails what is asked with `unauthorized`.
   */
  auth?: (context: { refused: boolean }) => string | Promise<string>;
  /** `false` keeps nothing in this browser. */
  cache?: CacheOptions | false;
}

export interface ClientCache {
  /**
   * Removes everything kept under this client's namespace, in every tab; what was asked before is not
   * kept after. Rejects if the browser did not do it, for then it is still there.
   */
  clear(): Promise<void>;
}

export interface Client {
  /**
   * Cold: subscribing asks, unsubscribing releases. Subscribing again reads the same answer
   * and never asks twice; after a failure it is a new attempt, so `retry()` works. Errors with a
   * `StreamError`; a cancelled answer errors with the code `cancelled`.
   */
  stream(ask: AnswerRequest): Observable<ResponseEvent>;
  /** Asks at once. */
  start(ask: AnswerRequest): Answer;
  /**
   * Reads on an answer that is under way or ended up to five minutes ago: after a reload, in another
   * tab, on another device. It begins with the text that this browser has of it. Never asks: what the
   * server does not know fails with `interrupted` if it was known here, else with `not_found`.
   */
  resume(id: string): Answer;
  /**
   * What is still being generated for this user, oldest first: at first what this browser knows, once
   * connected what the server says, then also each change by this client. Connects; never errors;
   * completes with `close()`.
   */
  readonly active$: Observable<readonly ActiveAnswer[]>;
  /** The state of the connection at once, then each change. It connects when first needed. */
  readonly connection$: Observable<ConnectionStatus>;
  readonly cache: ClientCache;
  /** Ends the connection; what is running here ends as `cancelled`. The client is of no use after. */
  close(): void;
}
