import { randomId } from '../random-id.js';

const KEY = 'rivulet:browser-id';

/**
 * The secret by which an anonymous browser is found again: the same in all its tabs and after a
 * reload. Where the page may store nothing it lives as long as the page.
 */
export function browserId(): string {
  try {
    const known = localStorage.getItem(KEY);
    if (known !== null) return known;
    const id = randomId();
    localStorage.setItem(KEY, id);
    return id;
  } catch {
    return randomId();
  }
}
