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
  temperature?: number | undefined;
  topP?: number | undefined;
  topK?: number | undefined;
  /** Tokens; the server's own limit holds when it is smaller. */
  maxTokens?: number | undefined;
  /** The answer ends before the first of these texts. */
  stop?: readonly string[] | undefined;
  /** The same request gives the same answer, where the model can do that. */
  seed?: number | undefined;
  /**
   * Shows the model's thoughts, where it has any: as `thoughts` of the snapshot. A kept answer has none, so
   * `cache: 'reload'` is for who wants them in any case.
   */
  thoughts?: boolean | undefined;
  /**
   * - `default`: a kept answer if there is one, else the model
   * - `reload`: the model, and its answer replaces the kept one
   * - `no-store`: the model, and nothing is read or kept
   * - `only-if-cached`: an answer kept in this browser, else a `not_found` error; nothing is sent
   */
  cache?: CacheMode | undefined;
  /**
   * What a server that is asked too often does to the question: `fail` with `rate_limited`, unless
   * given, or `wait` until it may be asked. `retryAt` of the snapshot says until when.
   */
  onRateLimit?: 'fail' | 'wait' | undefined;
  /**
   * What the last one to unsubscribe from `client.stream()` does: `detach` leaves the answer, unless
   * given, and the server ends it two seconds later unless someone reads it by then; `cancel` ends it
   * at once for all who read it, as a search that answers while one types needs it.
   */
  onUnsubscribe?: 'detach' | 'cancel' | undefined;
  /** Aborting cancels the answer, as `cancel()` does. */
  signal?: AbortSignal | undefined;
}

/** A schema of a library with Standard Schema and Standard JSON Schema, such as zod from 4.2 on. */
export interface StandardSchema<T = unknown> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => StandardResult<T> | Promise<StandardResult<T>>;
    readonly jsonSchema?: {
      readonly input: (options: { readonly target: 'draft-2020-12' }) => Record<string, unknown>;
    };
  };
}

export type StandardResult<T> =
  | { readonly value: T; readonly issues?: undefined }
  | {
      readonly issues: readonly {
        readonly message: string;
        readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
      }[];
    };

/** A JSON Schema of draft 2020-12. */
export interface PlainSchema<T = unknown> {
  readonly jsonSchema: Record<string, unknown>;
  /** Returns the value, or throws an `Error` that says what is wrong with it. Every JSON is valid unless given. */
  readonly validate?: (value: unknown) => T | Promise<T>;
}

export type Schema<T = unknown> = StandardSchema<T> | PlainSchema<T>;

/** A value of which parts may not have come yet. The last string, and the last number, may be cut. */
export type DeepPartial<T> = T extends readonly (infer Item)[]
  ? readonly DeepPartial<Item>[]
  : T extends object
    ? { readonly [Name in keyof T]?: DeepPartial<T[Name]> | undefined }
    : T;

/** A tool that the page runs. */
export interface ClientTool {
  /** Letters, digits, `_` and `-`, at most 64, the first a letter or `_`. */
  name: string;
  /** What it does and when it is of use, for the model; at most 1,024 UTF-16 units. */
  description: string;
  /** Of an object. */
  parameters: Schema;
  /**
   * Called with the arguments of each call, validated by `parameters`, in the page that asked; after a
   * reload in a page that gives the tool to `client.resume()`, where it may be called again for a call that
   * waits. Its result goes to the server as JSON. The model is told the message of what it throws. Without it,
   * the page answers the calls by `answer.reply()`.
   */
  execute?(args: never, context: { signal: AbortSignal }): unknown;
}

/** What a page says of a call that waits: its result, why it failed, or whether the user approves it. */
export type ToolReply =
  | { readonly result: unknown }
  | { readonly error: string }
  | { readonly approved: boolean };

/** What `client.resume()` cannot know of a question that was asked before a reload. */
export type ResumeOptions = Pick<AnswerRequest, 'tools'>;

export interface AnswerRequest {
  query: string;
  /** How many earlier messages `context` lacks because the page left them out; the snapshot adds the server's. */
  omittedMessages?: number | undefined;
  /** Earlier messages of the conversation, oldest first. */
  context?: readonly ContextMessage[] | undefined;
  /**
   * The answer continues this text, such as that of an answer that was stopped or reached its limit of
   * tokens. The new answer has only what comes after it; joined, they are the whole text. A server whose
   * models cannot do that fails the answer with `unsupported`.
   */
  continueText?: string | undefined;
  intent?: Intent | undefined;
  /**
   * The answer is JSON of this schema, and is validated here. `client.start()` gives it as `output`, and while
   * it comes as `partial$`. No tools are offered then. A server whose models cannot do that fails the answer
   * with `unsupported`.
   */
  output?: Schema | undefined;
  /** Tools that this page runs. The answer is neither kept nor shared. */
  tools?: readonly ClientTool[] | undefined;
  /** The caller's own name for the conversation; it comes back in every message. */
  sessionId?: string | undefined;
  options?: AnswerOptions | undefined;
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
      /** The oldest messages of the context that the model was not given; absent for none. */
      omittedMessages?: number;
    }
  | { type: 'text'; text: string }
  /** A piece of the model's thinking, never part of the text; only with `options.thoughts`. */
  | { type: 'thought'; text: string }
  | {
      type: 'queued';
      /** Requests that are before this one; again whenever that changes, 0 when it is its turn. */
      ahead: number;
    }
  /** The model is being loaded, which can take a minute; over with the next event. */
  | ({ type: 'loading' } & LoadingModel)
  | ToolCallEvent
  | ToolDecisionEvent
  | ToolResultEvent
  | { type: 'end'; finishReason: FinishReason; usage: Usage; timing: AnswerTiming };

/** A model that the provider reads into memory. */
export interface LoadingModel {
  readonly provider: string;
  readonly model: string;
}

/** The model called a tool, which now runs at the server or waits. Arguments are what the model said. */
export interface ToolCallEvent {
  type: 'tool_call';
  callId: string;
  name: string;
  arguments: unknown;
  /** What the call waits for; absent if it runs at the server. */
  awaits?: 'result' | 'approval';
  /** Milliseconds that it waits from now on; then it fails, and the model goes on. */
  timeoutMs?: number;
}

/** A call that waited for approval was approved, or refused. */
export interface ToolDecisionEvent {
  type: 'tool_decision';
  callId: string;
  name: string;
  approved: boolean;
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
  /** `awaiting`: it waits for `answer.reply()`, as long as the answer is under way. */
  readonly status: 'awaiting' | 'running' | 'done' | 'failed';
  /** What it waits for, or waited for: a result of the page, or a user's approval; absent for nothing. */
  readonly awaits?: 'result' | 'approval';
  /** Milliseconds that it waits from the call on. */
  readonly timeoutMs?: number;
  /** What a user decided; absent if nobody had to, or has. */
  readonly approved?: boolean;
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
 * - `loading`: the model is being loaded; `loading` says which
 * - `waiting`: asked, no text yet; the model is thinking if there are `thoughts`
 * - `streaming`: text is coming
 * - `reconnecting`: the connection is being restored; the text so far stands
 * - `done`, `cancelled`, `failed`: final
 * - `released`: final for this handle, which was released before the answer was done
 */
export type AnswerStatus =
  | 'queued'
  | 'loading'
  | 'waiting'
  | 'streaming'
  | 'reconnecting'
  | 'done'
  | 'cancelled'
  | 'failed'
  | 'released';

/** An answer at one moment. Frozen; the same object until something changes. */
export interface AnswerSnapshot {
  readonly id: string;
  readonly query: string;
  readonly status: AnswerStatus;
  /** Requests that are before this one, at least 1; undefined unless `status` is `queued`. */
  readonly ahead: number | undefined;
  /** The model that is being loaded; undefined unless `status` is `loading`. */
  readonly loading: LoadingModel | undefined;
  readonly text: string;
  /** What the model has thought in this attempt; empty without `options.thoughts`, and for a kept answer. */
  readonly thoughts: string;
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
  /**
   * The oldest messages of the context that the model was not given, because they did not fit: those that
   * the page left out, and those that the server left out.
   */
  readonly omittedMessages: number;
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

/**
 * A handle of one answer, for one reader. `client.start()` and `client.resume(id)` give each caller a
 * handle of its own; all handles of an id read the same answer. Its Observables are hot and replay what
 * there is to each subscriber.
 */
export interface Answer extends AsyncIterable<ResponseEvent> {
  readonly id: string;
  /**
   * What was asked, without its signal: `client.start(answer.request)` asks the same again. Undefined if
   * this browser knows only the id.
   */
  readonly request: AnswerRequest | undefined;
  /** The newest snapshot at once, then each change; completes after the final one; never errors. */
  readonly state$: Observable<AnswerSnapshot>;
  /** The whole text so far, each time it grows or begins again; completes with the answer; never errors. */
  readonly text$: Observable<string>;
  /**
   * What happened, from the start of the attempt on; errors with a `StreamError`, and completes without
   * an `end` if the handle is released.
   */
  readonly events$: Observable<ResponseEvent>;
  getSnapshot(): AnswerSnapshot;
  /** Ends the answer for all who read it; the text so far stays. Nothing happens once it is final. */
  cancel(): void;
  /**
   * Gives this handle up: its status is `released`, and its text so far stays. Other handles of the answer
   * read on. When the last one in this client is released the server is told, and ends the answer two
   * seconds later unless someone reads it by then; `client.resume(id)` does. Nothing happens once the
   * answer is final.
   */
  release(): void;
  /**
   * Answers a call with the status `awaiting`: from any handle, tab or device of this user. The first answer
   * counts. Resolves when the server has it; it is sent again after a cut.
   *
   * @throws {StreamError} by its promise: `conflict`, if the call has another answer or has ended;
   * `not_found`, if no such call waits; `bad_request`, if it waits for something else or the result has more
   * than 131,072 UTF-16 units of JSON.
   */
  reply(callId: string, reply: ToolReply): Promise<void>;
  /**
   * Resolves with the final snapshot when the answer is done or cancelled, or the handle was released;
   * rejects with a `StreamError` when it failed. Never unhandled: ignoring it is fine.
   */
  readonly result: Promise<AnswerSnapshot>;
}

/**
 * An answer with an output. If the text does not validate, it is asked once more, past both caches: as a
 * stream with another `id`, whose text begins again. An invalid answer is not kept in this browser.
 */
export interface OutputAnswer<T> extends Answer {
  /**
   * The validated value. Rejects with a `StreamError`: `invalid_output`, if the second text does not
   * validate either, with the text as `partialText`; `cancelled`; or why the answer failed. Never unhandled.
   */
  readonly output: Promise<T>;
  /**
   * What has come of the value, each time it grows; not validated. A text that begins again begins it again.
   * Completes with the answer; never errors. What is complete stays the same object.
   */
  readonly partial$: Observable<DeepPartial<T>>;
}

/**
 * The state of a client's connection. Frozen; a new object for each change.
 *
 * - `idle`: there is no connection, since nothing needs one: before the first question and the first
 *   subscriber of `active$`, and after `idleCloseMs`
 * - `connecting`: the first attempt is under way
 * - `connected`: questions reach the server
 * - `reconnecting`: the connection was lost or could not be made, and the client keeps trying. `reason` is
 *   `offline` if the device says that it has no network, else `unreachable`: no server answers at `url`,
 *   or it is overloaded; `attempts` failed since the connection was lost
 * - `refused`: the server does not let this client in, and `error.code` says why, such as `unauthorized`.
 *   The next question tries again
 * - `closed`: by `client.close()`, for good
 */
export type ConnectionState =
  | { readonly status: 'idle' }
  | { readonly status: 'connecting' }
  | { readonly status: 'connected' }
  | { readonly status: 'reconnecting'; readonly reason: 'offline' }
  | {
      readonly status: 'reconnecting';
      readonly reason: 'unreachable';
      readonly url: string;
      readonly attempts: number;
    }
  | { readonly status: 'refused'; readonly error: StreamError }
  | { readonly status: 'closed' };

/** An answer that is still being generated for this user: here, in another tab, on another device. */
export interface ActiveAnswer {
  readonly id: string;
  /** Its first 256 UTF-16 units. */
  readonly query: string;
  readonly sessionId: string | undefined;
  /** `paused`: a call of a tool waits for the page, or for the user's approval. Else as in a snapshot. */
  readonly status: Exclude<AnswerStatus, 'done' | 'cancelled' | 'failed' | 'released'> | 'paused';
}

/** An asynchronous key-value store of strings, such as AsyncStorage of React Native. */
export interface KeyValueStorage {
  getItem(key: string): Promise<string | null>;
  setItem(key: string, value: string): Promise<unknown>;
  removeItem(key: string): Promise<unknown>;
  getAllKeys(): Promise<readonly string[]>;
}

export interface CacheOptions {
  /**
   * Keeps the answers of one user apart from another's; give your user's id. Those of another server
   * (`url`) are apart in any case. Unless given it is `default`; with `auth` nothing is kept then, since
   * the next user of this browser would find it.
   */
  namespace?: string | undefined;
  /**
   * Where answers are kept; IndexedDB unless given. Its keys begin with `rivulet:`. Without both, answers
   * are kept in memory, as long as the page.
   * @example createClient({ url, cache: { namespace: userId, storage: AsyncStorage } })
   */
  storage?: KeyValueStorage | undefined;
  /**
   * Seconds that an answer is used; a day unless given. An older one is removed when a client of this
   * server and namespace first uses the store, and hourly while it is open.
   */
  maxAgeSeconds?: number | undefined;
  /** Answers kept; the least recently used leaves first. 500 unless given. */
  maxEntries?: number | undefined;
  /** Bytes of the answers kept, and of one; 32 MiB unless given. */
  maxBytes?: number | undefined;
}

export interface ClientOptions {
  /**
   * The server, such as `https://chat.example`; its path is the namespace, if there is one. Unless given, the
   * origin of the page; without a page that was loaded by HTTP (Electron's `file://`, React Native) questions
   * fail with `bad_request`.
   */
  url?: string | undefined;
  /** The path at which Socket.IO serves, such as `/rivulet/socket.io` behind a proxy; `/socket.io` unless given. */
  path?: string | undefined;
  /**
   * Returns a token for the server's `authenticate`. Called for each connection, with `refused: true` if the
   * server refused the last token; a second refusal fails the questions with `unauthorized`. While it throws
   * or rejects, the client is `reconnecting`.
   */
  auth?: ((context: { refused: boolean }) => string | Promise<string>) | undefined;
  /**
   * The secret by which a server without `authenticate` knows this device again, at least 16 characters: who has
   * it can read the device's answers. Called once. Unless given, it is random and kept in `localStorage`. Where
   * there is none (React Native, Web Workers) give one that the app keeps, else answers are lost with a reload.
   */
  browserId?: string | (() => string | Promise<string>) | undefined;
  /**
   * Milliseconds after which the connection is closed when there is no answer under way and no subscriber of
   * `active$`. The next question opens it again. It stays open unless given.
   */
  idleCloseMs?: number | undefined;
  /**
   * `['websocket']` never uses long polling, which works with several servers only behind a load balancer with
   * sticky sessions. Unless given, polling is used where a network lets no WebSockets pass.
   */
  transports?: readonly ['websocket'] | readonly ['websocket', 'polling'] | undefined;
  /** `false` keeps nothing in this browser. */
  cache?: CacheOptions | false | undefined;
}

export interface ClientCache {
  /**
   * Removes everything kept for this client's server and namespace, in every tab; what was asked before
   * is not kept after. Settles within 5 s. Rejects if the browser did not do it, for then it may still be
   * there.
   */
  clear(): Promise<void>;
}

export interface Client {
  /**
   * Cold: subscribing asks, unsubscribing releases (`options.onUnsubscribe`). Subscribing again reads the
   * same answer and never asks twice, so `repeat()` repeats the answer; `defer(() => client.stream(…))`
   * asks each time. After a failure it is a new attempt, so `retry()` works, and `retryTransient()` retries
   * only what may succeed. Errors with a `StreamError`; a cancelled answer errors with the code `cancelled`.
   */
  stream(ask: AnswerRequest): Observable<ResponseEvent>;
  /** Asks at once. @returns a handle, which is to be released if nobody reads it any more. */
  start<T>(ask: AnswerRequest & { output: Schema<T> }): OutputAnswer<T>;
  start(ask: AnswerRequest): Answer;
  /**
   * Reads on an answer that is under way or ended up to five minutes ago: after a reload, in another
   * tab, on another device. It begins with the text that this browser has of it. A question of this
   * browser that the server has not accepted yet, or of which it lost the answer before any text, is asked.
   * Else what the server does not know fails with `interrupted` if it was known here, or with `not_found`.
   * `options.tools` run the calls that wait for this page.
   */
  resume(id: string, options?: ResumeOptions): Answer;
  /**
   * What is still being generated for this user, oldest first: at first what this browser knows, once
   * connected what the server says, then also each change by this client. Connects; never errors;
   * completes with `close()`.
   */
  readonly active$: Observable<readonly ActiveAnswer[]>;
  /** The state of the connection at once, then each change; completes with `close()`. Never connects. */
  readonly connection$: Observable<ConnectionState>;
  readonly cache: ClientCache;
  /** Ends the connection; what is running here ends as `cancelled`. The client is of no use after. */
  close(): void;
}
