import { randomId } from '../random-id.js';

const KEY = 'rivulet:browser-id';

/**
 * Returns the secret that identifies an anonymous browser to the server. All tabs of a browser have the
 * same one, also after a reload. Where `localStorage` is missing or blocked, each call returns a new one.
 */
export function storedBrowserId(): string {
  try {
    const stored = localStorage.getItem(KEY);
    if (stored !== null) return stored;
    const id = randomId();
    localStorage.setItem(KEY, id);
    return id;
  } catch {
    return randomId();
  }
}
