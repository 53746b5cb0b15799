/** An entry that Rivulet keeps in this browser. */
export interface StoredItem {
  kind: string;
  name: string;
  bytes: number;
}

const KINDS: Record<string, string> = {
  b: 'answer',
  m: 'answer’s age',
  j: 'running answer',
  c: 'chat',
  n: 'message',
};

/** Reads the entries of Rivulet's databases in this browser. */
export async function readStoredItems(): Promise<StoredItem[]> {
  const databases = await indexedDB.databases();
  const found: StoredItem[] = [];
  for (const { name } of databases) {
    if (name?.startsWith('rivulet') !== true) continue;
    const entries = new Map(await entriesOf(name));
    for (const [key, value] of entries) {
      const [letter = ''] = key.split(':', 1);
      // An answer's age has the key of its answer.
      const shown = nameOf(value) ?? nameOf(entries.get(key.replace(/^m:/, 'b:')));
      found.push({
        kind: KINDS[letter] ?? letter,
        name: shown?.slice(0, 60) ?? 'without text',
        bytes: new Blob([JSON.stringify(value) ?? '']).size,
      });
    }
  }
  return found;
}

/** @returns the title, question or text of an entry; undefined if it has none. */
function nameOf(entry: unknown): string | undefined {
  const { title, text, request, parts } = Object(entry) as Record<string, unknown>;
  const { query } = Object(request) as Record<string, unknown>;
  const [part] = Array.isArray(parts) ? (parts as unknown[]) : [];
  const { answer } = Object(part) as Record<string, unknown>;
  const { text: answerText } = Object(answer) as Record<string, unknown>;
  return [title, query, text, answerText].find(
    (each): each is string => typeof each === 'string' && each !== '',
  );
}

async function entriesOf(name: string): Promise<[string, unknown][]> {
  const database = await resultOf(indexedDB.open(name));
  try {
    if (!database.objectStoreNames.contains('answers')) return [];
    const store = database.transaction('answers').objectStore('answers');
    const [keys, values] = await Promise.all([
      resultOf(store.getAllKeys() as IDBRequest<string[]>),
      resultOf<unknown[]>(store.getAll()),
    ]);
    return keys.map((key, i) => [key, values[i]]);
  } finally {
    database.close();
  }
}

function resultOf<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.addEventListener('success', () => resolve(request.result));
    request.addEventListener('error', () =>
      reject(
        request.error ?? new Error('unable to read IndexedDB: the request failed; reload the page'),
      ),
    );
  });
}
