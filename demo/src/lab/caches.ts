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
    for (const [key, value] of await entriesOf(name)) {
      const [letter = ''] = key.split(':', 1);
      const { title, text, request } = Object(value) as Record<string, unknown>;
      const { query } = Object(request) as Record<string, unknown>;
      const shown = [title, query, text].find((each) => typeof each === 'string' && each !== '');
      found.push({
        kind: KINDS[letter] ?? letter,
        name: typeof shown === 'string' ? shown.slice(0, 60) : key.slice(0, 24),
        bytes: new Blob([JSON.stringify(value) ?? '']).size,
      });
    }
  }
  return found;
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
