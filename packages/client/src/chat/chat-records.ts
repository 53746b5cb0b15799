import type { ChatRegistry } from './chat-registry.js';
import type { StoredChat } from './chat-store.js';
import {
  type ChatRecord,
  isOfNewerVersion,
  mergeChat,
  mergeMessage,
  type MessageRecord,
  newerVersionError,
  readChatRecord,
  readMessageRecord,
  RECORD_VERSION,
} from './records.js';

/** `ChatRecords` calls its listener. */
export interface RecordsListener {
  /** Records were read from the store, or a write has succeeded or failed. */
  onChange(): void;
  /** The chat was removed, in this tab or another. */
  onRemoved(): void;
  /** The page may be unloaded. Records that the listener updates now are written. */
  onUnload(): void;
}

const SAVE_DRAFT_MS = 300;
const CLOCK_TOLERANCE_MS = 30_000;
/** WebKit loses writes made in the other two events, and a page that is killed fires only `visibilitychange`. */
const UNLOAD_EVENTS = ['visibilitychange', 'pagehide', 'beforeunload'] as const;

/** The records of one chat, in memory and in its store. */
export class ChatRecords {
  readonly #registry: ChatRegistry;
  readonly #listener: RecordsListener;
  readonly #messages = new Map<string, MessageRecord>();
  readonly #unsaved = new Set<string>();
  readonly #units = new Map<string, number>();
  #chat: ChatRecord;
  #isChatUnsaved = false;
  #revision = 0;
  #removals = 0;
  #removal: Promise<void> | undefined;
  /** True after the store has read or written the chat. */
  #isStored = false;
  #isLoaded: boolean;
  #reading: Promise<void> | undefined;
  #needsRead = false;
  #writes = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #storeError: unknown;
  #lastTime = 0;
  #stopFollowing = (): void => {};

  /** `isNew` is true if the store has no chat with this id. */
  constructor(registry: ChatRegistry, id: string, isNew: boolean, listener: RecordsListener) {
    this.#registry = registry;
    this.#listener = listener;
    this.#isLoaded = isNew;
    this.#chat = emptyChat(id);
  }

  get chat(): ChatRecord {
    return this.#chat;
  }

  /** A number that changes with the messages. */
  get revision(): number {
    return this.#revision;
  }

  get all(): Iterable<MessageRecord> {
    return this.#messages.values();
  }

  /** False from `open` until the store was read. */
  get isLoaded(): boolean {
    return this.#isLoaded;
  }

  /** The error of the store's last failure; undefined while it works. */
  get storeError(): unknown {
    return this.#storeError;
  }

  /** True while a read or write is running or scheduled. */
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
   * @returns milliseconds since 1970, greater than every earlier result and than the times that other tabs wrote, so
   * that records have an order.
   */
  now(): number {
    return (this.#lastTime = Math.max(Date.now(), this.#lastTime + 1));
  }

  /** Follows the store until `close`. */
  open(): void {
    const unsubscribe = this.#registry.subscribe((chatId, writer) => {
      if (writer !== this && (chatId === undefined || chatId === this.#chat.id)) void this.read();
    });
    const page = globalThis as Partial<Pick<typeof globalThis, `${'add' | 'remove'}EventListener`>>;
    const onUnload = (): void => {
      this.#listener.onUnload();
      void this.save();
    };
    for (const type of UNLOAD_EVENTS) page.addEventListener?.(type, onUnload);
    this.#stopFollowing = () => {
      unsubscribe();
      for (const type of UNLOAD_EVENTS) page.removeEventListener?.(type, onUnload);
    };
    const isUnused = this.#isLoaded && !this.#isStored && this.#removals === 0;
    if (isUnused) return;
    this.#isLoaded = false;
    void this.read();
  }

  close(): void {
    this.#stopFollowing();
  }

  /** Adds or replaces messages, and writes them soon. */
  put(...records: readonly MessageRecord[]): void {
    this.#revision += 1;
    for (const record of records) {
      this.#messages.set(record.id, record);
      this.#unsaved.add(record.id);
      this.#units.set(record.id, JSON.stringify(record).length);
    }
    this.#setChat({ updatedAt: this.now() });
    this.#scheduleSave(0);
  }

  /** Replaces a message, which is written with the next `put` or `save`. */
  update(record: MessageRecord): void {
    this.#revision += 1;
    this.#messages.set(record.id, record);
    this.#unsaved.add(record.id);
  }

  setTitle(title: string): void {
    this.#setChat({ title });
  }

  setDraft(draft: string): void {
    this.#setChat({ draft, draftAt: this.now() });
    this.#scheduleSave(SAVE_DRAFT_MS);
  }

  /** Removes the chat, in every tab. */
  async remove(): Promise<void> {
    this.#removal = this.#registry.remove(this.#chat.id, this);
    this.#reset(false);
    this.#writes += 1;
    try {
      await this.#removal;
    } finally {
      this.#writes -= 1;
    }
  }

  #setChat(fields: Partial<ChatRecord>): void {
    const createdAt = this.#chat.createdAt || this.now();
    this.#chat = { ...this.#chat, createdAt, ...fields };
    this.#isChatUnsaved = true;
  }

  #scheduleSave(ms: number): void {
    if (this.#timer !== undefined && ms > 0) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.save(), ms);
  }

  /** Writes unsaved records. */
  async save(): Promise<void> {
    // The records of other tabs are unknown until the store was read.
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
      await this.#registry.write(chat, messages, this);
      this.#isStored = true;
      // The store works again: what a failed read has missed is read now.
      if (this.#storeError !== undefined) void this.read();
      this.#storeError = undefined;
    } catch (error) {
      // The next change writes them again.
      if (this.#chat.createdAt === chat.createdAt) {
        for (const { id } of messages) this.#unsaved.add(id);
      }
      this.#storeError = error;
    }
    this.#writes -= 1;
    this.#listener.onChange();
  }

  /** Reads the records that other tabs wrote. Resolves after a read that began after the call. */
  read(): Promise<void> {
    this.#needsRead = true;
    return (this.#reading ??= this.#readUntilCurrent());
  }

  async #readUntilCurrent(): Promise<void> {
    while (this.#needsRead) {
      this.#needsRead = false;
      try {
        const removals = this.#removals;
        // The caller of `remove` handles its failure.
        await this.#removal?.catch(() => {});
        const stored = await this.#registry.store.read(this.#chat.id);
        if (removals !== this.#removals) this.#needsRead = true;
        else if (stored !== undefined) this.#restore(stored);
        // Questions may have been added here after another tab removed the chat.
        else if (this.#isStored) this.#reset(!this.#isLoaded);
        this.#storeError = undefined;
      } catch (error) {
        this.#storeError = error;
      }
    }
    this.#reading = undefined;
    this.#isLoaded = true;
    void this.save();
    this.#listener.onChange();
  }

  /** @throws {Error} if the store returned something other than a chat; unknown messages are left out. */
  #restore(stored: StoredChat): void {
    if (isOfNewerVersion(stored.chat)) throw newerVersionError();
    const chat = readChatRecord(stored.chat);
    if (chat === undefined)
      throw new Error('unable to read the chat: its record in the store is invalid');
    const messages = stored.messages.flatMap((message) => readMessageRecord(message) ?? []);
    // The chat was removed and created again while this tab did not follow the store.
    const isRecreated = this.#isStored && chat.createdAt > this.#chat.createdAt;
    if (isRecreated) this.#reset(!this.#isLoaded);
    this.#isStored = true;
    this.#revision += 1;
    const { draft, draftAt, createdAt } = this.#chat;
    this.#chat = createdAt === 0 ? chat : mergeChat(chat, this.#chat);
    // The draft of another tab must not replace the one that is being written in this tab.
    if (this.#isLoaded) this.#chat = { ...this.#chat, draft, draftAt };
    for (const message of messages) {
      this.#advanceClock(message.updatedAt);
      this.#advanceClock(message.selectedAt);
      const ours = this.#messages.get(message.id);
      const merged = ours ? mergeMessage(message, ours) : message;
      const json = JSON.stringify(merged);
      this.#units.set(message.id, json.length);
      // An unchanged message stays the same object, so that no view renders it again.
      if (ours === undefined || json !== JSON.stringify(ours))
        this.#messages.set(message.id, merged);
    }
  }

  /** The clock of another tab may be ahead; a time far in the future comes from a clock that was wrong. */
  #advanceClock(at: number): void {
    if (at > this.#lastTime && at <= Date.now() + CLOCK_TOLERANCE_MS) this.#lastTime = at;
  }

  #reset(keepsUnsaved: boolean): void {
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
    this.#listener.onRemoved();
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
