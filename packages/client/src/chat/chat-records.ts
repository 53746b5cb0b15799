import type { ChatHub } from './chat-hub.js';
import type { StoredChat } from './chat-store.js';
import {
  type ChatRecord,
  mergeChat,
  mergeMessage,
  type MessageRecord,
  readChatRecord,
  readMessageRecord,
  RECORD_VERSION,
} from './records.js';

/** `ChatRecords` calls its listener. */
export interface RecordsListener {
  /** Something was restored, was changed by another tab, or could not be kept. */
  changed(): void;
  /** Everything was removed, here or in another tab. */
  forgotten(): void;
  /** The page may go away; what is written by then is kept. */
  leaving(): void;
}

const SAVE_DRAFT_MS = 300;
const CLOCK_TOLERANCE_MS = 30_000;
/** WebKit loses what is written in the others, and a page that is killed fires only `visibilitychange`. */
const LAST_EVENTS = ['visibilitychange', 'pagehide', 'beforeunload'] as const;

/** The records of one chat, in memory and in its store. */
export class ChatRecords {
  readonly #hub: ChatHub;
  readonly #listener: RecordsListener;
  readonly #messages = new Map<string, MessageRecord>();
  readonly #unsaved = new Set<string>();
  readonly #units = new Map<string, number>();
  #chat: ChatRecord;
  #isChatUnsaved = false;
  #revision = 0;
  #removals = 0;
  #removal: Promise<void> | undefined;
  /** True once the store has the chat. */
  #isStored = false;
  #isLoaded: boolean;
  #reading: Promise<void> | undefined;
  #isStale = false;
  #writes = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #storeError: unknown;
  #lastTime = 0;
  #close = (): void => {};

  /** `isNew`: the store has no chat with this id. */
  constructor(hub: ChatHub, id: string, isNew: boolean, listener: RecordsListener) {
    this.#hub = hub;
    this.#listener = listener;
    this.#isLoaded = isNew;
    this.#chat = emptyChat(id);
  }

  get chat(): ChatRecord {
    return this.#chat;
  }

  /** Changes with the messages. */
  get revision(): number {
    return this.#revision;
  }

  get all(): Iterable<MessageRecord> {
    return this.#messages.values();
  }

  /** False until the store was read, each time that the records are opened. */
  get isLoaded(): boolean {
    return this.#isLoaded;
  }

  /** The error of the store's last failure; undefined while it works. */
  get storeError(): unknown {
    return this.#storeError;
  }

  /** True while something is read or written. */
  get isBusy(): boolean {
    return this.#writes > 0 || this.#reading !== undefined || this.#timer !== undefined;
  }

  isRemoved(messageId: string | undefined): boolean {
    return messageId !== undefined && this.#messages.get(messageId)?.isRemoved === true;
  }

  get(messageId: string): MessageRecord | undefined {
    const record = this.#messages.get(messageId);
    return record?.isRemoved ? undefined : record;
  }

  /**
   * @returns milliseconds since 1970, later than the time before and than what other tabs wrote, so that records
   * have an order.
   */
  now(): number {
    return (this.#lastTime = Math.max(Date.now(), this.#lastTime + 1));
  }

  /** Follows the store until `close`. */
  open(): void {
    const forgetHub = this.#hub.subscribe((chatId, writer) => {
      if (writer !== this && (chatId === undefined || chatId === this.#chat.id)) void this.read();
    });
    const page = globalThis as Partial<Pick<typeof globalThis, `${'add' | 'remove'}EventListener`>>;
    const leave = (): void => {
      this.#listener.leaving();
      void this.save();
    };
    for (const type of LAST_EVENTS) page.addEventListener?.(type, leave);
    this.#close = () => {
      forgetHub();
      for (const type of LAST_EVENTS) page.removeEventListener?.(type, leave);
    };
    const isUnused = this.#isLoaded && !this.#isStored && this.#removals === 0;
    if (isUnused) return;
    this.#isLoaded = false;
    void this.read();
  }

  close(): void {
    this.#close();
  }

  /** Adds or replaces messages, and keeps them. */
  put(...records: readonly MessageRecord[]): void {
    this.#revision += 1;
    for (const record of records) {
      this.#messages.set(record.id, record);
      this.#unsaved.add(record.id);
      this.#units.set(record.id, JSON.stringify(record).length);
    }
    this.#set({ updatedAt: this.now() });
    this.#saveSoon(0);
  }

  /** Changes what is known of a message and is written with the next change, or when `save` is called. */
  update(record: MessageRecord): void {
    this.#revision += 1;
    this.#messages.set(record.id, record);
    this.#unsaved.add(record.id);
  }

  setTitle(title: string): void {
    this.#set({ title });
  }

  setDraft(draft: string): void {
    this.#set({ draft, draftAt: this.now() });
    this.#saveSoon(SAVE_DRAFT_MS);
  }

  /** Removes everything, in every tab. */
  async remove(): Promise<void> {
    this.#removal = this.#hub.remove(this.#chat.id, this);
    this.#forget(false);
    this.#writes += 1;
    try {
      await this.#removal;
    } finally {
      this.#writes -= 1;
    }
  }

  #set(fields: Partial<ChatRecord>): void {
    const createdAt = this.#chat.createdAt || this.now();
    this.#chat = { ...this.#chat, createdAt, ...fields };
    this.#isChatUnsaved = true;
  }

  #saveSoon(ms: number): void {
    if (this.#timer !== undefined && ms > 0) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.save(), ms);
  }

  /** Writes what is not written yet. */
  async save(): Promise<void> {
    // Before the store was read, the records of other tabs are not known.
    if (!this.#isLoaded) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#unsaved.size === 0 && !this.#isChatUnsaved) return;
    const messages = [...this.#unsaved].flatMap((id) => this.#messages.get(id) ?? []);
    const units = [...this.#units.values()].reduce((sum, each) => sum + each, 0);
    this.#unsaved.clear();
    this.#isChatUnsaved = false;
    await this.#write({ ...this.#chat, units }, messages);
  }

  async #write(chat: ChatRecord, messages: readonly MessageRecord[]): Promise<void> {
    this.#writes += 1;
    try {
      await this.#hub.write(chat, messages, this);
      this.#isStored = true;
      this.#storeError = undefined;
    } catch (error) {
      // The next change writes them again.
      if (this.#chat.createdAt === chat.createdAt) {
        for (const { id } of messages) this.#unsaved.add(id);
      }
      this.#storeError = error;
    }
    this.#writes -= 1;
    this.#listener.changed();
  }

  /** Reads what other tabs wrote. Resolves once all that was there at the time of the call was read. */
  read(): Promise<void> {
    this.#isStale = true;
    return (this.#reading ??= this.#readAll());
  }

  async #readAll(): Promise<void> {
    while (this.#isStale) {
      this.#isStale = false;
      try {
        const removals = this.#removals;
        // A removal that failed has been told to its caller.
        await this.#removal?.catch(() => {});
        const stored = await this.#hub.store.read(this.#chat.id);
        if (removals !== this.#removals) this.#isStale = true;
        else if (stored !== undefined) this.#restore(stored);
        // At first there may be questions that were added after the chat was removed elsewhere.
        else if (this.#isStored) this.#forget(!this.#isLoaded);
        this.#storeError = undefined;
      } catch (error) {
        this.#storeError = error;
      }
    }
    this.#reading = undefined;
    this.#isLoaded = true;
    void this.save();
    this.#listener.changed();
  }

  /** @throws {Error} if the store returned something other than a chat; unknown messages are left out. */
  #restore(stored: StoredChat): void {
    const chat = readChatRecord(stored.chat);
    if (chat === undefined)
      throw new Error('unable to read the chat: the store has no valid record');
    const messages = stored.messages.flatMap((message) => readMessageRecord(message) ?? []);
    // The chat was removed and begun again while this tab did not look.
    const isAnother = this.#isStored && chat.createdAt > this.#chat.createdAt;
    if (isAnother) this.#forget(!this.#isLoaded);
    this.#isStored = true;
    this.#revision += 1;
    const { draft, draftAt, createdAt } = this.#chat;
    this.#chat = createdAt === 0 ? chat : mergeChat(chat, this.#chat);
    // Another tab's draft must not replace what is being written in this one.
    if (this.#isLoaded) this.#chat = { ...this.#chat, draft, draftAt };
    for (const message of messages) {
      this.#seeTime(message.updatedAt);
      this.#seeTime(message.selectedAt);
      const ours = this.#messages.get(message.id);
      const merged = ours ? mergeMessage(message, ours) : message;
      const json = JSON.stringify(merged);
      this.#units.set(message.id, json.length);
      // The same object as long as nothing is new, so that no view renders it again.
      if (ours === undefined || json !== JSON.stringify(ours))
        this.#messages.set(message.id, merged);
    }
  }

  /** The clock of another tab may be ahead; a time far in the future comes from a clock that was wrong. */
  #seeTime(at: number): void {
    if (at > this.#lastTime && at <= Date.now() + CLOCK_TOLERANCE_MS) this.#lastTime = at;
  }

  #forget(keepsUnsaved: boolean): void {
    this.#removals += 1;
    const kept = keepsUnsaved
      ? [...this.#unsaved].flatMap((id) => this.#messages.get(id) ?? [])
      : [];
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#revision += 1;
    this.#messages.clear();
    this.#unsaved.clear();
    this.#units.clear();
    this.#isStored = false;
    this.#isChatUnsaved = false;
    this.#chat = emptyChat(this.#chat.id);
    // The store refuses what was created before the removal, also in the same millisecond.
    this.#lastTime = Math.max(this.#lastTime, Date.now());
    this.#listener.forgotten();
    if (kept.length > 0) this.put(...kept);
  }
}

function emptyChat(id: string): ChatRecord {
  return {
    version: RECORD_VERSION,
    id,
    title: '',
    titledAt: 0,
    createdAt: 0,
    updatedAt: 0,
    draft: '',
    draftAt: 0,
    units: 0,
  };
}
