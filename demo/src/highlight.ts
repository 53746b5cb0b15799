import { lazy } from './lazy.js';

const languages = lazy(() => import('./languages.js'));

/** Longer code keeps one color: to color it would hold up the page. */
const MAX_UNITS = 30_000;
/** Open code is colored again with each frame. */
const MAX_OPEN_UNITS = 8_000;
/** A closed block inside a list that still grows is drawn again with each frame of the list. */
const MAX_CACHED = 32;
const cache = new Map<string, string>();

/**
 * The code as HTML with its colors. Undefined for code that is too long, for a language that is not carried,
 * and until the languages are loaded.
 *
 * @param isClosed false while the code still grows.
 */
export function highlight(code: string, language: string, isClosed: boolean): string | undefined {
  if (language === '' || code.length > (isClosed ? MAX_UNITS : MAX_OPEN_UNITS)) return undefined;
  const loaded = languages.get();
  if (loaded === undefined) return undefined;
  const key = `${language}\n${code}`;
  const known = cache.get(key);
  if (known !== undefined) return known;
  const html = loaded.highlightCode(code, language);
  if (html === undefined || !isClosed) return html;
  if (cache.size >= MAX_CACHED) cache.clear();
  cache.set(key, html);
  return html;
}
