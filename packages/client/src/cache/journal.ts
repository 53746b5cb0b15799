import type { Received } from '../answer/receive.js';
import type { LocalStore } from './local-store.js';
import type { Keeping } from './response-cache.js';

/** An answer under way, as far as this browser has it. */
export interface JournalEntry {
  id: string;
  query: string;
  sessionId: string | undefined;
  keeping: Keeping;
  /** Milliseconds from the ask to the first text, once there was one. */
  firstChunkMs: number | undefined;
  received: Received;
  /** Milliseconds since 1970. */
  writtenAt: number;
}

/** The answers of one user that are under way, so that a page that was reloaded goes on with them. */
export interface Journal {
  read(id: string): Promise<JournalEntry | undefined>;
  all(): Promise<JournalEntry[]>;
  /** Writes the answer down as it grows, until the returned function is called, which removes it. */
  follow(
    id: string,
    changes: (listener: () => void) => () => void,
    entry: () => Omit<JournalEntry, 'writtenAt'> | undefined,
  ): () => void;
}

const PREFIX = 'j:';
const WRITE_EVERY_MS = 500;
// A server waits a minute for who reads, and has what is finished for five more.
const MAX_AGE_MS = 360_000;

export function createJournal(store: LocalStore): Journal {
  async function all(): Promise<JournalEntry[]> {
    const listed = await store.list(PREFIX);
    const entries = listed.map(([, value]) => value).filter(isFresh);
    const isGone = ([, value]: readonly [string, unknown]): boolean => !isFresh(value);
    const gone = listed.filter(isGone).map(([key]) => key);
    if (gone.length > 0) store.remove(gone).catch(() => {});
    return entries.sort((a, b) => a.keeping.askedAt - b.keeping.askedAt);
  }

  return {
    all,
    async read(id) {
      const entry = await store.get(PREFIX + id);
      return isFresh(entry) ? frozen(entry) : undefined;
    },
    follow(id, changes, entryNow) {
      let timer: ReturnType<typeof setTimeout> | undefined;

      function write(isLast = false): void {
        clearTimeout(timer);
        timer = undefined;
        const entry = entryNow();
        if (entry === undefined) return;
        const { askedAt } = entry.keeping;
        const written = [PREFIX + id, { ...entry, writtenAt: Date.now() }] as const;
        const writing = isLast
          ? store.writeLast(written, askedAt)
          : store.write(written[0], askedAt, () => [written]);
        writing.catch(() => {});
      }

      // A page may end without a further word once it is hidden.
      const writeLast = (): void => write(true);
      addEventListener('visibilitychange', writeLast);
      addEventListener('pagehide', writeLast);
      const unsubscribe = changes(() => (timer ??= setTimeout(write, WRITE_EVERY_MS)));
      write();
      return () => {
        clearTimeout(timer);
        unsubscribe();
        removeEventListener('visibilitychange', writeLast);
        removeEventListener('pagehide', writeLast);
        store.remove([PREFIX + id]).catch(() => {});
      };
    },
  };
}

/** What views are given does not change. */
function frozen({ received, ...entry }: JournalEntry): JournalEntry {
  const tools = Object.freeze(received.tools.map((use) => Object.freeze(use)));
  return { ...entry, received: { ...received, tools, ahead: 0 } };
}

/** IndexedDB may hold what another version wrote, or another script. */
function isFresh(value: unknown): value is JournalEntry {
  const { id, query, keeping, received, writtenAt } = Object(value) as Partial<JournalEntry>;
  const { offset, text, tools } = Object(received) as Partial<Received>;
  return (
    typeof id === 'string' &&
    typeof query === 'string' &&
    typeof keeping?.askedAt === 'number' &&
    typeof offset === 'number' &&
    typeof text === 'string' &&
    Array.isArray(tools) &&
    Date.now() - Number(writtenAt) < MAX_AGE_MS
  );
}
