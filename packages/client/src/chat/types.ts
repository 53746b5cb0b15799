import type { Observable } from 'rxjs';
import type {
  Answer,
  AnswerOptions,
  AnswerRequest,
  AnswerSnapshot,
  ClientTool,
  ToolReply,
} from '../types.js';
import type { ChatStore } from './chat-store.js';

/**
 * - `loading`: the chat is being restored
 * - `ready`: no answer is under way
 * - `waiting`: an answer is under way and has no text yet
 * - `streaming`: an answer is under way and has text
 */
export type ChatStatus = 'loading' | 'ready' | 'waiting' | 'streaming';

/**
 * The way in which an answer ended.
 *
 * - `complete`: the model finished it
 * - `stopped`: a user stopped it
 * - `length`: it reached the limit of tokens
 * - `filtered`: the provider refused to finish it because of its content
 * - `interrupted`: the server that generated it went away
 * - `failed`: an error ended it; `answer.error` says which
 * - `empty`: the model finished it without any text
 * - `other`: the model ended it for a reason that its provider does not name
 */
export type Ending =
  | 'complete'
  | 'stopped'
  | 'length'
  | 'filtered'
  | 'interrupted'
  | 'failed'
  | 'empty'
  | 'other';

interface Message {
  readonly id: string;
  readonly text: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  /** The position of this version among its versions, from 0. */
  readonly version: number;
  /** The number of versions: edits of a question, or generations of an answer. At least 1. */
  readonly versionCount: number;
}

/** A question. Frozen; the same object until something changes. */
export interface UserMessage extends Message {
  readonly role: 'user';
  /**
   * `queued`: it waits for an answer under way or for the connection, and can be edited or removed.
   * `sent`: it was asked.
   */
  readonly status: 'queued' | 'sent';
}

/** An answer. Frozen; the same object until something changes. */
export interface AssistantMessage extends Message {
  readonly role: 'assistant';
  /** The text of all parts, joined. */
  readonly text: string;
  /** The newest part. Its `text` is the text of that part alone. */
  readonly answer: AnswerSnapshot;
  /** The first answer, then what `continue` added. At least one. */
  readonly parts: readonly AnswerSnapshot[];
  /** Undefined while the answer is under way. */
  readonly ending: Ending | undefined;
  /** True if the answer ended before it was complete, and has text that `continue` can go on from. */
  readonly canContinue: boolean;
  /** The time at which the newest text arrived, in milliseconds since 1970; undefined without text. */
  readonly lastTextAt: number | undefined;
}

export type ChatMessage = UserMessage | AssistantMessage;

/** A chat at one moment. Frozen; the same object until something changes. */
export interface ChatSnapshot {
  readonly id: string;
  readonly status: ChatStatus;
  /** The visible branch, oldest first. Queued questions come last. */
  readonly messages: readonly ChatMessage[];
  /** Text that is being written and was not sent. */
  readonly draft: string;
  /**
   * The number of oldest messages that did not fit into the request of the newest answer: those
   * that the client left out, and those that the server left out.
   */
  readonly omittedMessages: number;
  /** The error of the last failed read or write of the store; undefined while the store works. */
  readonly storeError: unknown;
}

/** A question and its options. */
export interface ChatQuestion extends Pick<AnswerRequest, 'intent' | 'sessionId' | 'options'> {
  text: string;
}

export interface ChatOptions {
  /** Names the chat, to find it again after a reload. Random unless given. */
  id?: string | undefined;
  /** The store that keeps the chat. In IndexedDB, beside the client's response cache, unless given. */
  store?: ChatStore | undefined;
  /**
   * The behaviour of `send` while an answer is running: `queue` (the default) sends the question after the answer;
   * `replace` stops the answer and sends the question at once; `reject` rejects with `conflict`.
   */
  onBusy?: 'queue' | 'replace' | 'reject' | undefined;
  /** Options of every question; those of a question win. */
  options?: AnswerOptions | undefined;
  /** Tools that the page runs, for every question; also for calls that wait after a reload. */
  tools?: readonly ClientTool[] | undefined;
}

/**
 * A conversation that is kept. Nothing happens until something subscribes or a method is called. Chats of one
 * client, store and id share their state, also between tabs.
 *
 * The promises of `send`, `edit`, `regenerate`, `retry` and `continue` resolve with a handle of the answer
 * once it is asked, and reject with a `StreamError`. They are never unhandled: ignoring them is fine.
 */
export interface Chat {
  readonly id: string;
  /**
   * The newest snapshot at once, then each change. Never errors or completes, also not after `client.close()`:
   * the chat can still be changed.
   */
  readonly state$: Observable<ChatSnapshot>;
  /** `messages` of `state$`, when it changes. */
  readonly messages$: Observable<readonly ChatMessage[]>;
  /** `status` of `state$`, when it changes. */
  readonly status$: Observable<ChatStatus>;
  /** `draft` of `state$`, when it changes. */
  readonly draft$: Observable<string>;
  getSnapshot(): ChatSnapshot;
  /**
   * Asks a question after the visible branch. A draft with the same text is cleared. Aborting `options.signal` removes
   * the question while it is queued in this page, and then stops its answer; a later version of it has no signal.
   *
   * @throws {StreamError} by its promise: `bad_request` for blank or too long text, `conflict` if `onBusy` is
   * `reject` and an answer is under way, `cancelled` if the question was removed or changed while it waited, its
   * signal was aborted, or the client was closed.
   */
  send(question: string | ChatQuestion): Promise<Answer>;
  /** Stops the running answers; their text stays. The next queued question is sent. */
  stop(): void;
  /**
   * Changes a queued question, or asks another version of one that was sent. Answers under way are stopped. A
   * question that could not be asked yet may get another id.
   *
   * @throws {StreamError} by its promise: `not_found`, or `bad_request` for blank or too long text.
   */
  edit(messageId: string, text: string): Promise<Answer>;
  /**
   * Generates another version of an answer, past both response caches. The newest answer unless given.
   * Answers under way are stopped.
   */
  regenerate(messageId?: string): Promise<Answer>;
  /** Asks again after a failure. A failed answer without text is replaced; one with text stays a version. */
  retry(messageId?: string): Promise<Answer>;
  /**
   * Asks the model to go on from the text of an answer that ended before it was complete. Fails with
   * `unsupported` where the provider cannot do that; the text so far stays.
   */
  continue(messageId?: string): Promise<Answer>;
  /**
   * Answers a call with the status `awaiting` of an answer under way, as `reply` of an `Answer` does.
   * `messageId` is that of the answer.
   *
   * @throws {StreamError} by its promise: `not_found`, if the answer is not under way here; else as `Answer.reply`.
   */
  reply(messageId: string, callId: string, reply: ToolReply): Promise<void>;
  /**
   * Shows another version of a message, and what followed it. `version` counts from 0.
   *
   * @throws {StreamError} not_found
   */
  selectVersion(messageId: string, version: number): void;
  /** Removes a queued question, or a message with everything that follows it. Nothing happens if there is none. */
  remove(messageId: string): void;
  /** Keeps text that is being written. A page that is reloaded has what was written last, in any tab. */
  setDraft(text: string): void;
  /** Stops answers under way and removes the chat from its store, in every tab. */
  clear(): Promise<void>;
}

/** A chat as `listChats` lists it. */
export interface ChatSummary {
  readonly id: string;
  /** The first question, shortened, or what `renameChat` gave it. */
  readonly title: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  /** When it was last changed, in milliseconds since 1970. */
  readonly updatedAt: number;
}
