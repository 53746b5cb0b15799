/** An entry that Rivulet keeps in this browser. */
export interface Kept {
  kind: string;
  name: string;
  bytes: number;
}

const KINDS: Record<string, string> = {
  b: 'answer',
  m: 'answer’s age',
  j: 'running answer',
  c: 'chat',
};

/** What Rivulet keeps in this browser: the entries of its databases. */
export async function readCaches(): Promise<Kept[]> {
  const databases = await indexedDB.databases();
  const found: Kept[] = [];
  for (const { name } of databases) {
    if (name?.startsWith('rivulet') !== true) continue;
    for (const [key, value] of await entriesOf(name)) {
      const [letter = ''] = key.split(':', 1);
      const { text, query, title } = Object(value) as Record<string, unknown>;
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

function entriesOf(name: string): Promise<[string, unknown][]> {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(name);
    opening.onerror = () => reject(opening.error ?? new Error('unable to open the database'));
    opening.onsuccess = () => {
      const database = opening.result;
      const entries: [string, unknown][] = [];
      if (!database.objectStoreNames.contains('answers')) {
        database.close();
        return resolve(entries);
      }
      const cursor = database.transaction('answers').objectStore('answers').openCursor();
      cursor.onsuccess = () => {
        const at = cursor.result;
        if (at === null) {
          database.close();
          return resolve(entries);
        }
        entries.push([String(at.key), at.value as unknown]);
        at.continue();
      };
      cursor.onerror = () => reject(cursor.error ?? new Error('unable to read the database'));
    };
  });
}
