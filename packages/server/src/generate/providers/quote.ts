const MAX_QUOTED_CHARACTERS = 200;

/**
 * Upstream's own words for a message that people read: plain text in one line, and nothing at all
 * where it repeats something `secret` or is markup or JSON.
 */
export function quote(words: string, secret: readonly string[]): string {
  const line = oneLine(words);
  const repeats = secret.map(oneLine).some((text) => text !== '' && line.includes(text));
  return repeats || /[<{]/.test(line) ? '' : line.slice(0, MAX_QUOTED_CHARACTERS);
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}
