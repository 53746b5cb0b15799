import { StreamError } from '@rivulet/protocol';
import { distinctUntilChanged, map, Observable, Subscription } from 'rxjs';
import { isFinal } from '../answer/snapshot.js';
import { createLatest } from '../latest.js';
import { randomId } from '../random-id.js';
import type { Answer, AnswerOptions, Client, ClientTool, ToolReply } from '../types.js';
import { AnswerRecorder } from './answer-recorder.js';
import { type ChatHub, chatHubOf } from './chat-hub.js';
import { ChatQueue } from './chat-queue.js';
import { ChatRecords } from './chat-records.js';
import { ChatView, isUnknown } from './chat-view.js';
import { requestFor } from './context.js';
import { LiveParts } from './live-parts.js';
import { interruptedAnswer } from './message.js';
import { checkText, storable, titleOf } from './question.js';
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

/** A server keeps a log for minutes, so an answer that was under way a day ago is not there any more. */
const MAX_RESUME_AGE_MS = 86_400_000;
/** The interval in which the client looks for another page's question that the server did not have yet. */
const FOLLOW_EVERY_MS = 2_000;

/** A chat of `client`. Chats with the same id share their state; the options of the first one hold. */
export function createChat(client: Client, options: ChatOptions = {}): Chat {
  const hub = chatHubOf(client, options.store);
  const known = options.id === undefined ? undefined : hub.find(options.id);
  return known instanceof ChatSession ? known : new ChatSession(client, hub, options);
}

class ChatSession implements Chat {
  readonly id: string;
  readonly state$: Observable<ChatSnapshot>;
  readonly messages$: Observable<readonly ChatMessage[]>;
  readonly status$: Observable<ChatStatus>;
  readonly draft$: Observable<string>;
  readonly #client: Client;
  readonly #hub: ChatHub;
  readonly #onBusy: 'queue' | 'replace' | 'reject';
  readonly #options: AnswerOptions | undefined;
  readonly #tools: readonly ClientTool[] | undefined;
  readonly #states = createLatest<ChatSnapshot>();
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
  #followTimer: ReturnType<typeof setTimeout> | undefined;
  #close = (): void => {};

  constructor(client: Client, hub: ChatHub, { id, onBusy = 'queue', options, tools }: ChatOptions) {
    this.id = id ?? randomId();
    this.#client = client;
    this.#hub = hub;
    this.#onBusy = onBusy;
    this.#options = options;
    this.#tools = tools;
    hub.add(this.id, this);
    this.#live = new LiveParts((messageId, part) => this.#recorder.add(messageId, part));
    this.#records = new ChatRecords(hub, this.id, id === undefined, {
      changed: () => this.#onRecords(),
      forgotten: () => this.#onForgotten(),
      leaving: () => this.#recorder.update(),
    });
    this.#recorder = new AnswerRecorder(this.#records, this.#live, {
      isStopping: () => this.#isStopping,
      isClientClosed: () => this.#isClientClosed,
      changed: () => this.#changed(),
      ended: () => this.#onEnd(),
      readLater: () => this.#followLater(),
    });
    this.#queue = new ChatQueue(this.#records, hub.owner, () => this.#onRecords());
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
    return this.#act(() => {
      const { text, ...request } = typeof question === 'string' ? { text: question } : question;
      checkText(text);
      if (this.#onBusy === 'reject' && this.#isBusy) {
        throw new StreamError(
          'conflict',
          'unable to send: an answer is under way; wait or stop it',
        );
      }
      if (this.#onBusy === 'replace') this.#cancelLive();
      const record: UserRecord = {
        ...this.#newRecord(undefined),
        role: 'user',
        text,
        status: 'queued',
        replaces: undefined,
        owner: this.#hub.owner,
        request: storable(request),
      };
      const { title, draft } = this.#records.chat;
      if (title === '') this.#records.setTitle(titleOf(text));
      if (draft === text) this.#records.setDraft('');
      this.#records.put(record);
      return this.#queued(record.id);
    });
  }

  stop(): void {
    this.#cancelLive();
    this.#askNext();
  }

  edit(messageId: string, text: string): Promise<Answer> {
    return this.#act(() => {
      checkText(text);
      const record = this.#find(messageId);
      if (record.role !== 'user') throw notFound('edit', 'question');
      if (record.status === 'queued') {
        const { owner } = this.#hub;
        this.#records.put({ ...record, text, owner, updatedAt: this.#records.now() });
        this.#queue.reject(messageId, 'the question was changed');
        return this.#queued(messageId, text);
      }
      if (this.#isUnasked(record)) return this.#replaceUnasked(record, text);
      this.#cancelLive();
      const { parentId, request } = record;
      const version: UserRecord = {
        ...this.#newRecord(parentId),
        role: 'user',
        text,
        status: 'sent',
        // Not the version that was edited, which may be removed.
        replaces: record.replaces ?? messageId,
        owner: this.#hub.owner,
        request,
      };
      this.#records.put(version);
      return Promise.resolve(this.#generate(version));
    });
  }

  regenerate(messageId?: string): Promise<Answer> {
    return this.#act(() => {
      const question = this.#questionOf(this.#findAnswer(messageId));
      this.#cancelLive();
      return Promise.resolve(this.#generate(question, { cache: 'reload' }));
    });
  }

  retry(messageId?: string): Promise<Answer> {
    return this.#act(() => {
      const failed = this.#findAnswer(messageId);
      const question = this.#questionOf(failed);
      this.#cancelLive();
      if (textOf(failed) === '') this.#records.put(withoutContent(failed, this.#records.now()));
      return Promise.resolve(this.#generate(question));
    });
  }

  continue(messageId?: string): Promise<Answer> {
    return this.#act(() => {
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
      return Promise.resolve(this.#read(id, answer));
    });
  }

  selectVersion(messageId: string, version: number): void {
    const record = this.#find(messageId);
    const selected = versionsOfMessage(this.#records.all, record)[version];
    if (selected === undefined) throw notFound('select', `version ${version}`);
    const now = this.#records.now();
    this.#records.put({ ...selected, selectedAt: now, updatedAt: now });
    this.#changed();
  }

  remove(messageId: string): void {
    const root = this.#records.get(messageId);
    for (const record of root ? subtreeOf(this.#records.all, root) : []) {
      this.#records.put(withoutContent(record, this.#records.now()));
      this.#live.cancel(record.id);
      this.#queue.reject(record.id, 'the question was removed');
    }
    this.#onRecords();
  }

  setDraft(text: string): void {
    if (text === this.#records.chat.draft) return;
    this.#open();
    this.#records.setDraft(text);
    this.#changed();
  }

  reply(messageId: string, callId: string, reply: ToolReply): Promise<void> {
    return this.#live.reply(messageId, callId, reply);
  }

  clear(): Promise<void> {
    const promise = this.#records.remove();
    promise.catch(() => {}).finally(() => this.#closeIfUnused());
    return promise;
  }

  // Opening and closing

  /** Restores the chat and follows its store, as long as it is used. */
  #open(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    const connection = new Subscription();
    this.#close = () => {
      connection.unsubscribe();
      this.#records.close();
      this.#queue.close();
      clearTimeout(this.#followTimer);
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
        this.#askNext();
      }),
    );
  }

  #closeIfUnused(): void {
    const isUsed =
      this.#subscribers > 0 || this.#live.size > 0 || this.#queue.isAwaited || this.#records.isBusy;
    if (isUsed || !this.#isOpen) return;
    this.#isOpen = false;
    this.#close();
  }

  /** Runs what a user asked for. The promise may be ignored. */
  #act(action: () => Promise<Answer>): Promise<Answer> {
    this.#open();
    const promise = new Promise<Answer>((resolve) => {
      if (this.#isClientClosed)
        throw new StreamError('cancelled', 'unable to ask: the client is closed');
      resolve(action());
    });
    promise.catch(() => {}).finally(() => this.#closeIfUnused());
    // The action may have stopped an answer and failed then.
    this.#askNext();
    this.#changed();
    return promise;
  }

  // Records

  #onRecords(): void {
    for (const record of this.#records.all) this.#follow(record);
    this.#settleQueue();
    if (!this.#isClientClosed) this.#queue.takeOver();
    this.#changed();
    this.#askNext();
    this.#closeIfUnused();
  }

  /** Settles the promises of questions that another tab asked, changed or removed. */
  #settleQueue(): void {
    for (const [messageId, { edited }] of this.#queue.awaited) {
      const record = this.#records.get(messageId);
      if (record === undefined) this.#queue.reject(messageId, 'the question was removed');
      if (record?.role !== 'user' || record.status === 'queued') continue;
      if (edited !== undefined && edited !== record.text) {
        this.#queue.reject(messageId, 'another tab asked it before it was changed');
        if (this.#records.chat.draft === '') this.#records.setDraft(edited);
      }
      for (const answer of this.#records.all) {
        const part = answer.role === 'assistant' ? answer.parts[0] : undefined;
        // Before the server has the answer it cannot be read.
        const isKnown = part?.answer.requestId !== undefined;
        if (answer.parentId !== messageId || part === undefined || !isKnown) continue;
        this.#queue.resolve(messageId, this.#client.resume(part.answer.id, { tools: this.#tools }));
      }
    }
  }

  /** Reads an answer that is under way elsewhere. */
  #follow(record: MessageRecord): void {
    // Another tab may have removed the question before it knew of this answer.
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
      this.#live.read(record.id, this.#client.resume(part.answer.id, { tools: this.#tools }), part);
  }

  #onEnd(): void {
    this.#changed();
    this.#askNext();
    this.#closeIfUnused();
  }

  #followLater(): void {
    clearTimeout(this.#followTimer);
    this.#followTimer = setTimeout(() => this.#onRecords(), FOLLOW_EVERY_MS);
  }

  #onForgotten(): void {
    this.#live.forget();
    this.#queue.rejectAll('the chat was removed');
    this.#changed();
  }

  // Asking

  /** Stops the answers under way. What is queued waits for what the caller asks instead. */
  #cancelLive(): void {
    this.#isStopping = true;
    this.#live.cancel();
    this.#isStopping = false;
  }

  get #isBusy(): boolean {
    return this.#live.size > 0 || this.#view.isUnderWay;
  }

  #queued(messageId: string, edited?: string): Promise<Answer> {
    const answer = this.#queue.wait(messageId, edited);
    this.#askNext();
    return answer;
  }

  /** Asks what is queued first, if nothing is under way and the server may be reached. */
  #askNext(): void {
    if (this.#isStopping || this.#isBusy || !this.#records.isLoaded) return;
    if (!this.#isOnline || this.#isClientClosed) return;
    const { next } = this.#queue;
    if (next === undefined) return;
    const now = this.#records.now();
    const parentId = this.#view.branch.at(-1)?.record.id;
    const sent = { status: 'sent', parentId, updatedAt: now, selectedAt: now } as const;
    const question = { ...next, ...sent };
    this.#records.put(question);
    this.#queue.resolve(next.id, this.#generate(question));
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
    return this.#read(record.id, answer);
  }

  /** @returns a handle for the caller, who may release it. */
  #read(messageId: string, answer: Answer): Answer {
    const isKnown = !isFinal(answer.getSnapshot());
    const handle = isKnown ? this.#client.resume(answer.id) : answer;
    this.#live.read(messageId, answer, undefined);
    this.#changed();
    return handle;
  }

  /** @returns true if the server does not have the question yet, such as without a connection. */
  #isUnasked({ id }: UserRecord): boolean {
    const answers = [...this.#records.all].filter(
      ({ parentId, isRemoved }) => parentId === id && !isRemoved,
    );
    const live = answers.length === 1 ? this.#live.get(answers[0]?.id ?? '') : undefined;
    return live !== undefined && isUnknown(live.snapshot);
  }

  /** A new question takes its place, since other tabs and the store may have it as sent. */
  #replaceUnasked(record: UserRecord, text: string): Promise<Answer> {
    this.remove(record.id);
    const { id, createdAt, updatedAt } = this.#newRecord(undefined);
    const { owner } = this.#hub;
    this.#records.put({ ...record, id, createdAt, updatedAt, text, owner, status: 'queued' });
    return this.#queued(id);
  }

  // Finding

  #find(messageId: string): MessageRecord {
    const record = this.#records.get(messageId);
    if (record === undefined) throw notFound('change', 'message with this id');
    return record;
  }

  /** The newest answer of the visible branch unless an id is given. */
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

  // Telling

  #changed(): void {
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
