import { StreamError } from '@rivulet/protocol';
import { distinctUntilChanged, map, Observable, Subscription } from 'rxjs';
import { isFinal } from '../answer/snapshot.js';
import { createStateSubject } from '../state-subject.js';
import { randomId } from '../random-id.js';
import type { Answer, AnswerOptions, Client, ClientTool, ToolReply } from '../types.js';
import { AnswerRecorder } from './answer-recorder.js';
import { type ChatRegistry, chatRegistryOf } from './chat-registry.js';
import { ChatQueue } from './chat-queue.js';
import { ChatRecords } from './chat-records.js';
import { ChatView, isUnknownToServer } from './chat-view.js';
import { requestFor } from './context.js';
import { LiveParts } from './live-parts.js';
import { interruptedAnswer } from './message.js';
import { validateText, toStorable, titleOf } from './question.js';
import {
  type AssistantRecord,
  type MessageRecord,
  partOf,
  RECORD_VERSION,
  textOf,
  type UserRecord,
  withoutContent,
} from './records.js';
import { subtreeOf, versionsOfMessage } from './tree.js';
import type {
  Chat,
  ChatMessage,
  ChatOptions,
  ChatQuestion,
  ChatSnapshot,
  ChatStatus,
} from './types.js';

/** A server keeps a log for minutes, so an answer that was running a day ago is lost. */
const MAX_RESUME_AGE_MS = 86_400_000;
/** The time after which the chat resumes an answer again whose question another page had not sent yet. */
const RESUME_RETRY_MS = 2_000;

/** @returns the chat with `options.id`. Calls with the same client, store and id return the same chat, with the options of the first call. */
export function createChat(client: Client, options: ChatOptions = {}): Chat {
  const registry = chatRegistryOf(client, options.store);
  const existing = options.id === undefined ? undefined : registry.find(options.id);
  return existing instanceof ChatSession ? existing : new ChatSession(client, registry, options);
}

class ChatSession implements Chat {
  readonly id: string;
  readonly state$: Observable<ChatSnapshot>;
  readonly messages$: Observable<readonly ChatMessage[]>;
  readonly status$: Observable<ChatStatus>;
  readonly draft$: Observable<string>;
  readonly #client: Client;
  readonly #registry: ChatRegistry;
  readonly #onBusy: 'queue' | 'replace' | 'reject';
  readonly #options: AnswerOptions | undefined;
  readonly #tools: readonly ClientTool[] | undefined;
  readonly #states = createStateSubject<ChatSnapshot>();
  readonly #records: ChatRecords;
  readonly #live: LiveParts;
  readonly #recorder: AnswerRecorder;
  readonly #queue: ChatQueue;
  readonly #view: ChatView;
  #snapshot: ChatSnapshot;
  #subscribers = 0;
  #isOpen = false;
  #isOnline = true;
  #isClientClosed = false;
  #isStopping = false;
  #resumeTimer: ReturnType<typeof setTimeout> | undefined;
  #stopFollowing = (): void => {};

  constructor(
    client: Client,
    registry: ChatRegistry,
    { id, onBusy = 'queue', options, tools }: ChatOptions,
  ) {
    this.id = id ?? randomId();
    this.#client = client;
    this.#registry = registry;
    this.#onBusy = onBusy;
    this.#options = options;
    this.#tools = tools;
    registry.add(this.id, this);
    this.#live = new LiveParts((messageId, part) => this.#recorder.add(messageId, part));
    this.#records = new ChatRecords(registry, this.id, id === undefined, {
      onChange: () => this.#onRecordsChange(),
      onRemoved: () => this.#onRemoved(),
      onUnload: () => this.#recorder.update(),
    });
    this.#recorder = new AnswerRecorder(this.#records, this.#live, {
      isStopping: () => this.#isStopping,
      isClientClosed: () => this.#isClientClosed,
      onChange: () => this.#emit(),
      onEnd: () => this.#onEnd(),
      onUnknownAnswer: () => this.#scheduleResume(),
    });
    this.#queue = new ChatQueue(
      this.#records,
      registry.pageId,
      () => this.#onRecordsChange(),
      (messageId) => this.remove(messageId),
    );
    this.#view = new ChatView(this.#records, this.#live);
    this.#snapshot = this.#view.snapshot(undefined);
    this.#states.next(this.#snapshot);
    this.state$ = new Observable((subscriber) => {
      this.#subscribers += 1;
      this.#open();
      subscriber.add(this.#states.value$.subscribe(subscriber));
      return () => {
        this.#subscribers -= 1;
        this.#closeIfUnused();
      };
    });
    this.messages$ = this.#select(({ messages }) => messages);
    this.status$ = this.#select(({ status }) => status);
    this.draft$ = this.#select(({ draft }) => draft);
  }

  getSnapshot(): ChatSnapshot {
    return this.#snapshot;
  }

  send(question: string | ChatQuestion): Promise<Answer> {
    return this.#runAction(() => {
      const { text, ...request } = typeof question === 'string' ? { text: question } : question;
      validateText(text);
      const signal = request.options?.signal;
      if (signal?.aborted) {
        throw new StreamError('cancelled', 'unable to send: the signal of the question is aborted');
      }
      if (this.#onBusy === 'reject' && this.#isBusy) {
        throw new StreamError(
          'conflict',
          'unable to send: an answer is running; wait for it or stop it',
        );
      }
      if (this.#onBusy === 'replace') this.#cancelLive();
      const record: UserRecord = {
        ...this.#newRecord(undefined),
        role: 'user',
        text,
        status: 'queued',
        replaces: undefined,
        owner: this.#registry.pageId,
        request: toStorable(request),
      };
      const { title, draft } = this.#records.chat;
      if (title === '') this.#records.setTitle(titleOf(text));
      if (draft === text) this.#records.setDraft('');
      this.#records.put(record);
      return this.#enqueue(record.id, signal);
    });
  }

  stop(): void {
    this.#cancelLive();
    this.#startNext();
  }

  edit(messageId: string, text: string): Promise<Answer> {
    return this.#runAction(() => {
      validateText(text);
      const record = this.#find(messageId);
      if (record.role !== 'user') throw notFound('edit', 'question');
      if (record.status === 'queued') {
        const { pageId } = this.#registry;
        this.#records.put({ ...record, text, owner: pageId, updatedAt: this.#records.now() });
        const signal = this.#queue.signalOf(messageId);
        this.#queue.reject(messageId, 'the question was changed');
        return this.#enqueue(messageId, signal, text);
      }
      if (this.#isUnsent(record)) return this.#replaceUnsent(record, text);
      this.#cancelLive();
      const { parentId, request } = record;
      const version: UserRecord = {
        ...this.#newRecord(parentId),
        role: 'user',
        text,
        status: 'sent',
        // The edited version may be removed, so the new one refers to the first version.
        replaces: record.replaces ?? messageId,
        owner: this.#registry.pageId,
        request,
      };
      this.#records.put(version);
      return Promise.resolve(this.#generate(version));
    });
  }

  regenerate(messageId?: string): Promise<Answer> {
    return this.#runAction(() => {
      const question = this.#questionOf(this.#findAnswer(messageId));
      this.#cancelLive();
      return Promise.resolve(this.#generate(question, { cache: 'reload' }));
    });
  }

  retry(messageId?: string): Promise<Answer> {
    return this.#runAction(() => {
      const failed = this.#findAnswer(messageId);
      const question = this.#questionOf(failed);
      this.#cancelLive();
      if (textOf(failed) === '') this.#records.put(withoutContent(failed, this.#records.now()));
      return Promise.resolve(this.#generate(question));
    });
  }

  continue(messageId?: string): Promise<Answer> {
    return this.#runAction(() => {
      const { id } = this.#findAnswer(messageId);
      this.#cancelLive();
      const record = this.#findAnswer(id);
      const continueText = textOf(record);
      if (continueText === '') {
        throw new StreamError(
          'bad_request',
          'unable to continue: the answer has no text; retry it',
        );
      }
      const question = this.#questionOf(record);
      const answer = this.#client.start(
        requestFor(question, this.#view.branch, [this.#options], continueText),
      );
      const now = this.#records.now();
      const added = partOf(answer.getSnapshot(), undefined, now);
      this.#records.put({
        ...record,
        parts: [...record.parts, added],
        updatedAt: now,
        selectedAt: now,
      });
      return Promise.resolve(this.#addLive(id, answer));
    });
  }

  selectVersion(messageId: string, version: number): void {
    const record = this.#find(messageId);
    const selected = versionsOfMessage(this.#records.all, record)[version];
    if (selected === undefined) throw notFound('select', `version ${version}`);
    const now = this.#records.now();
    this.#records.put({ ...selected, selectedAt: now, updatedAt: now });
    this.#emit();
  }

  remove(messageId: string): void {
    const root = this.#records.get(messageId);
    for (const record of root ? subtreeOf(this.#records.all, root) : []) {
      this.#records.put(withoutContent(record, this.#records.now()));
      this.#live.cancel(record.id);
      this.#queue.reject(record.id, 'the question was removed');
    }
    this.#onRecordsChange();
  }

  setDraft(text: string): void {
    if (text === this.#records.chat.draft) return;
    this.#open();
    this.#records.setDraft(text);
    this.#emit();
  }

  reply(messageId: string, callId: string, reply: ToolReply): Promise<void> {
    return this.#live.reply(messageId, callId, reply);
  }

  clear(): Promise<void> {
    const promise = this.#records.remove();
    promise.catch(() => {}).finally(() => this.#closeIfUnused());
    return promise;
  }

  /** Reads the chat from its store and follows the store until `#stopFollowing`. */
  #open(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    const connection = new Subscription();
    this.#stopFollowing = () => {
      connection.unsubscribe();
      this.#records.close();
      this.#queue.close();
      clearTimeout(this.#resumeTimer);
      this.#recorder.close();
    };
    this.#records.open();
    connection.add(
      this.#client.connection$.subscribe(({ status }) => {
        this.#isOnline = status !== 'reconnecting';
        this.#isClientClosed = status === 'closed';
        if (this.#isClientClosed) {
          this.#queue.rejectAll('the client was closed');
          this.#queue.close();
        }
        this.#startNext();
      }),
    );
  }

  #closeIfUnused(): void {
    const isUsed =
      this.#subscribers > 0 ||
      this.#live.size > 0 ||
      this.#queue.hasPending ||
      this.#records.isBusy;
    if (isUsed || !this.#isOpen) return;
    this.#isOpen = false;
    this.#stopFollowing();
  }

  /** Runs an action of the user. The caller may ignore the promise: its rejection is never unhandled. */
  #runAction(action: () => Promise<Answer>): Promise<Answer> {
    this.#open();
    const promise = new Promise<Answer>((resolve) => {
      if (this.#isClientClosed)
        throw new StreamError('cancelled', 'unable to ask: the client is closed; create a new one');
      resolve(action());
    });
    promise.catch(() => {}).finally(() => this.#closeIfUnused());
    // The action may have stopped an answer before it failed.
    this.#startNext();
    this.#emit();
    return promise;
  }

  #onRecordsChange(): void {
    for (const record of this.#records.all) this.#resumeAnswer(record);
    this.#settleQueue();
    if (!this.#isClientClosed) this.#queue.claimAbandoned();
    this.#emit();
    this.#startNext();
    this.#closeIfUnused();
  }

  /** Settles the promises of questions that another tab asked, changed or removed. */
  #settleQueue(): void {
    for (const [messageId, { edited }] of this.#queue.pending) {
      const record = this.#records.get(messageId);
      if (record === undefined) this.#queue.reject(messageId, 'the question was removed');
      if (record?.role !== 'user' || record.status === 'queued') continue;
      if (edited !== undefined && edited !== record.text) {
        this.#queue.reject(messageId, 'another tab asked it before it was changed');
        if (this.#records.chat.draft === '') this.#records.setDraft(edited);
        continue;
      }
      const answers = [...this.#records.all].filter(({ parentId }) => parentId === messageId);
      const parts = answers.flatMap((answer) =>
        answer.role === 'assistant' ? (answer.parts[0] ?? []) : [],
      );
      // The answer cannot be resumed before the server has it.
      const known = parts.find(({ answer }) => answer.requestId !== undefined)?.answer;
      if (known !== undefined) {
        this.#queue.resolve(messageId, this.#client.resume(known.id, { tools: this.#tools }));
      } else if (answers.length > 0 && parts.every(({ answer }) => isFinal(answer))) {
        // The answer came from the browser's cache, failed before the server had it, or was removed.
        this.#queue.reject(messageId, 'another tab asked it, and its answer has ended');
      }
    }
  }

  /** Resumes an answer that another page started. */
  #resumeAnswer(record: MessageRecord): void {
    // Another tab may have removed the question before it had the record of this answer.
    if (!record.isRemoved && this.#records.isRemoved(record.parentId)) {
      this.#records.put(withoutContent(record, this.#records.now()));
      return this.#live.cancel(record.id);
    }
    if (record.isRemoved) return this.#live.cancel(record.id);
    const part = record.role === 'assistant' ? record.parts.at(-1) : undefined;
    if (part === undefined || isFinal(part.answer) || this.#isClientClosed) return;
    if (this.#live.get(record.id) !== undefined) return;
    const ageMs = Date.now() - part.updatedAt;
    if (ageMs > MAX_RESUME_AGE_MS) {
      this.#recorder.end(record.id, { ...part, answer: interruptedAnswer(part.answer) });
    } else
      this.#live.add(record.id, this.#client.resume(part.answer.id, { tools: this.#tools }), part);
  }

  #onEnd(): void {
    this.#emit();
    this.#startNext();
    this.#closeIfUnused();
  }

  #scheduleResume(): void {
    clearTimeout(this.#resumeTimer);
    this.#resumeTimer = setTimeout(() => this.#onRecordsChange(), RESUME_RETRY_MS);
  }

  #onRemoved(): void {
    this.#live.cancelSilently();
    this.#queue.rejectAll('the chat was removed');
    this.#emit();
  }

  /** Stops the running answers without starting the next queued question. */
  #cancelLive(): void {
    this.#isStopping = true;
    this.#live.cancel();
    this.#isStopping = false;
  }

  get #isBusy(): boolean {
    return this.#live.size > 0 || this.#view.isAnswering;
  }

  #enqueue(messageId: string, signal?: AbortSignal, edited?: string): Promise<Answer> {
    const answer = this.#queue.wait(messageId, signal, edited);
    this.#startNext();
    return answer;
  }

  /** Sends the first queued question, unless an answer is running or there is no connection. */
  #startNext(): void {
    if (this.#isStopping || this.#isBusy || !this.#records.isLoaded) return;
    if (!this.#isOnline || this.#isClientClosed) return;
    const { next } = this.#queue;
    if (next === undefined) return;
    const now = this.#records.now();
    const parentId = this.#view.branch.at(-1)?.record.id;
    const sent = { status: 'sent', parentId, updatedAt: now, selectedAt: now } as const;
    const question = { ...next, ...sent };
    this.#records.put(question);
    const signal = this.#queue.signalOf(next.id);
    this.#queue.resolve(next.id, this.#generate(question, signal && { signal }));
  }

  #generate(question: UserRecord, options: AnswerOptions = {}): Answer {
    const answer = this.#client.start({
      ...requestFor(question, this.#view.branch, [this.#options, options]),
      tools: this.#tools,
    });
    const record: AssistantRecord = {
      ...this.#newRecord(question.id),
      role: 'assistant',
      parts: [partOf(answer.getSnapshot(), undefined, this.#records.now())],
    };
    this.#records.put(record);
    return this.#addLive(record.id, answer);
  }

  /** @returns a handle of its own for the caller, which may release it. */
  #addLive(messageId: string, answer: Answer): Answer {
    const isKnown = !isFinal(answer.getSnapshot());
    const handle = isKnown ? this.#client.resume(answer.id) : answer;
    this.#live.add(messageId, answer, undefined);
    this.#emit();
    return handle;
  }

  /** @returns true if the server has not received the question, for example without a connection. */
  #isUnsent({ id }: UserRecord): boolean {
    const answers = [...this.#records.all].filter(
      ({ parentId, isRemoved }) => parentId === id && !isRemoved,
    );
    const live = answers.length === 1 ? this.#live.get(answers[0]?.id ?? '') : undefined;
    return live !== undefined && isUnknownToServer(live.snapshot);
  }

  /** Replaces the question by a new one, because other tabs and the store may have it as sent. */
  #replaceUnsent(record: UserRecord, text: string): Promise<Answer> {
    this.remove(record.id);
    const { id, createdAt, updatedAt } = this.#newRecord(undefined);
    const { pageId } = this.#registry;
    this.#records.put({
      ...record,
      id,
      createdAt,
      updatedAt,
      text,
      owner: pageId,
      status: 'queued',
    });
    return this.#enqueue(id);
  }

  #find(messageId: string): MessageRecord {
    const record = this.#records.get(messageId);
    if (record === undefined) throw notFound('change', 'message with this id');
    return record;
  }

  /** @returns the answer with this id; the newest answer of the visible branch if it is undefined. */
  #findAnswer(messageId: string | undefined): AssistantRecord {
    const newest = this.#view.branch.findLast(({ record }) => record.role === 'assistant');
    const record = messageId === undefined ? newest?.record : this.#records.get(messageId);
    if (record?.role !== 'assistant') throw notFound('ask again', 'answer with this id');
    return record;
  }

  /** An answer of another branch has other messages before it, so its question must be visible. */
  #questionOf({ parentId }: AssistantRecord): UserRecord {
    const question = this.#view.branch.find(({ record }) => record.id === parentId)?.record;
    if (question?.role !== 'user') throw notFound('ask again', 'visible question of this answer');
    return question;
  }

  #newRecord(
    parentId: string | undefined,
  ): Omit<UserRecord, 'role' | 'text' | 'status' | 'replaces' | 'owner' | 'request'> {
    const now = this.#records.now();
    return {
      version: RECORD_VERSION,
      id: randomId(),
      chatId: this.id,
      parentId,
      createdAt: now,
      updatedAt: now,
      selectedAt: now,
      isRemoved: false,
    };
  }

  #emit(): void {
    this.#snapshot = this.#view.snapshot(this.#snapshot);
    this.#states.next(this.#snapshot);
  }

  #select<T>(project: (snapshot: ChatSnapshot) => T): Observable<T> {
    return this.state$.pipe(map(project), distinctUntilChanged());
  }
}

function notFound(action: string, what: string): StreamError {
  return new StreamError('not_found', `unable to ${action}: the chat has no ${what}`);
}
