import type { Source } from '@rivulet/protocol';
import { randomId } from '../random-id.js';
import { jsonSchemaOf } from '../schema.js';
import type { ToolEntry } from '../connection/log-segment.js';
import type { AnswerRequest, Schema } from '../types.js';
import type { Entry, LocalStore } from './local-store.js';
import type { CacheTarget } from './response-cache.js';

/** The part of an answer that this browser has received. */
export interface ReceivedPart {
  /** The position in the log up to which everything was received, in UTF-16 units. */
  readonly offset: number;
  readonly text: string;
  readonly thoughts: string;
  readonly toolEntries: readonly ToolEntry[];
  readonly attempt:
    | {
        attempt: number;
        source: Source;
        provider: string;
        model: string;
        reason: string | undefined;
        omittedMessages: number;
      }
    | undefined;
}

/** A running answer, with the part that this browser has received. */
export interface JournalEntry {
  id: string;
  /** The request without its signal. */
  request: AnswerRequest;
  cacheTarget: CacheTarget;
  /** `asking` until the server has accepted the question. */
  phase: 'asking' | 'reading';
  /** When a question that exceeded the rate limit may be asked again; milliseconds since 1970. */
  retryAt: number | undefined;
  /** The id of the log that `received` comes from; undefined until the server has sent it. */
  epoch: string | undefined;
  /** Milliseconds from the question to the first text; undefined before the first text. */
  firstChunkMs: number | undefined;
  received: ReceivedPart;
}

/**
 * The running answers of one user, from which a reloaded page continues. Each client that reads an answer
 * writes an entry of its own, which no other client removes.
 */
export interface Journal {
  /** @returns the newest entry of the answer from any client. */
  read(id: string): Promise<JournalEntry | undefined>;
  /** @returns the newest entry of each answer, in the order of the questions. */
  all(): Promise<JournalEntry[]>;
  /**
   * Stores the answer as it grows. The first write replaces entries that pages left when they were unloaded.
   *
   * @returns a function that stops and removes the entry; with `isOver` it also removes the entries that
   * `read` found, which no client needs any more.
   */
  record(
    id: string,
    subscribe: (listener: (isUrgent: boolean) => void) => () => void,
    getEntry: () => JournalEntry | undefined,
  ): (isOver: boolean) => void;
  /** Removes expired and unreadable entries. */
  sweep(): Promise<void>;
}

interface StoredEntry extends JournalEntry {
  /** Milliseconds since 1970. */
  writtenAt: number;
  /** True if the page wrote the entry while it was being unloaded. */
  isFromUnload: boolean;
}

const PREFIX = 'j:';
const WRITE_EVERY_MS = 500;
/** Renews the entry of an answer that does not change, such as a queued one. */
const RENEW_EVERY_MS = 60_000;
// A server keeps generating for a minute without a reader, and keeps a finished log for five more.
const MAX_AGE_MS = 360_000;
const MAX_TOTAL_MS = 86_400_000;
const MAX_UNITS = 16_777_216;
// WebKit loses writes made in the other two events, and a page that is killed fires only `visibilitychange`.
const UNLOAD_EVENTS = ['visibilitychange', 'pagehide', 'beforeunload'] as const;

export function createJournal(store: LocalStore): Journal {
  /** The entries that `read` found, until `follow` is called for their answer. */
  const found = new Map<string, (readonly [key: string, value: StoredEntry])[]>();
  let writer: string | undefined;

  async function list(prefix: string): Promise<(readonly [string, StoredEntry])[]> {
    const listed = (await store.list(prefix)).flatMap(([key, value]) =>
      isUsable(value) ? [[key, value] as const] : [],
    );
    return listed.sort(([, a], [, b]) => a.writtenAt - b.writtenAt);
  }

  function isUsable(value: unknown): value is StoredEntry {
    if (!isStoredEntry(value)) return false;
    const { writtenAt, retryAt = 0, cacheTarget } = value;
    // A question that waits for the rate limit does not age until it may be asked.
    const newest = Math.max(writtenAt, Math.min(retryAt, Date.now()));
    return store.isFresh(newest, MAX_AGE_MS) && store.isFresh(cacheTarget.askedAt, MAX_TOTAL_MS);
  }

  return {
    async read(id) {
      const entries = (await list(`${PREFIX}${id}:`)).filter(([, entry]) => entry.id === id);
      found.set(id, entries);
      const [, newest] = entries.at(-1) ?? [];
      return newest;
    },
    async all() {
      const newest = new Map((await list(PREFIX)).map(([, entry]) => [entry.id, entry]));
      return [...newest.values()].sort((a, b) => a.cacheTarget.askedAt - b.cacheTarget.askedAt);
    },
    async sweep() {
      const unusable = (await store.list(PREFIX)).filter(([, value]) => !isUsable(value));
      if (unusable.length > 0) await store.remove(unusable.map(([key]) => key));
    },
    record(id, subscribe, getEntry) {
      const key = `${PREFIX}${id}:${(writer ??= randomId())}`;
      const others = found.get(id) ?? [];
      let unloaded = others.flatMap(([other, { isFromUnload }]): Entry[] =>
        isFromUnload ? [[other]] : [],
      );
      let request: AnswerRequest | undefined;
      let timer: ReturnType<typeof setTimeout> | undefined;
      found.delete(id);

      function write(event?: Event): void {
        clearTimeout(timer);
        timer = undefined;
        const entry = getEntry();
        request ??= entry && toStorable(entry.request);
        if (entry === undefined || request === undefined) return;
        const { askedAt } = entry.cacheTarget;
        const isFromUnload = event !== undefined && event.type !== 'visibilitychange';
        const own = [key, { ...entry, request, isFromUnload, writtenAt: Date.now() }] as const;
        const replaced = unloaded;
        unloaded = [];
        const writing = event
          ? store.writeOnUnload(own, askedAt)
          : store.write([key], askedAt, () => [own, ...replaced]);
        writing.catch(() => {});
      }

      const page = globalThis as Partial<
        Pick<typeof globalThis, `${'add' | 'remove'}EventListener`>
      >;
      for (const type of UNLOAD_EVENTS) page.addEventListener?.(type, write);
      const renewal = setInterval(() => write(), RENEW_EVERY_MS);
      const unsubscribe = subscribe((isUrgent) => {
        if (isUrgent) write();
        else timer ??= setTimeout(write, WRITE_EVERY_MS);
      });
      write();
      return (isOver) => {
        clearTimeout(timer);
        clearInterval(renewal);
        unsubscribe();
        for (const type of UNLOAD_EVENTS) page.removeEventListener?.(type, write);
        const over = isOver ? others.map(([other]) => other) : [];
        store.remove([key, ...over]).catch(() => {});
      };
    },
  };
}

function withoutSchemas(_: string, value: unknown): unknown {
  const isSchema = '~standard' in Object(value);
  return isSchema ? { jsonSchema: jsonSchemaOf(value as Schema) } : value;
}

/**
 * A copy that can be stored, which a framework's proxies and the schemas of libraries cannot; undefined if
 * there is none.
 */
function toStorable<T>(value: T): T | undefined {
  try {
    return JSON.parse(JSON.stringify(value, withoutSchemas)) as T;
  } catch {
    return undefined;
  }
}

/** Another version of this package, or another script, may have written the entry. */
function isStoredEntry(value: unknown): value is StoredEntry {
  try {
    const {
      id,
      request,
      cacheTarget,
      phase,
      retryAt = 0,
      epoch = '',
      received,
      writtenAt,
    } = value as StoredEntry;
    const { query, context = [], options = {}, continueText = '' } = request;
    const {
      offset,
      text,
      thoughts,
      toolEntries,
      attempt = { attempt: 1, provider: '', model: '' },
    } = received;
    const { provider, model } = attempt;
    const texts = [
      id,
      query,
      cacheTarget.key,
      epoch,
      text,
      thoughts,
      continueText,
      provider,
      model,
    ];
    for (const { role, content } of context) texts.push(role, content);
    const numbers = [cacheTarget.askedAt, retryAt, writtenAt, offset, attempt.attempt];
    for (const { offset: at, event, textBefore } of toolEntries) {
      texts.push(event.callId, event.name);
      numbers.push(at, textBefore);
    }
    return (
      texts.every((field) => typeof field === 'string') &&
      numbers.every(Number.isSafeInteger) &&
      (phase === 'reading' || (phase === 'asking' && offset === 0)) &&
      typeof options === 'object' &&
      JSON.stringify([request, text, thoughts, toolEntries]).length < MAX_UNITS
    );
  } catch {
    return false;
  }
}
