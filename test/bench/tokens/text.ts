// The text of every stream: tokens of 4 to 6 characters from a fixed seed, again from the start after the last.

const TOKENS = 8_192;

function createTokens(): string[] {
  let seed = 0x9e3779b9;
  const random = (below: number): number => {
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    return (seed >>> 0) % below;
  };
  const letter = (): string => String.fromCharCode(97 + random(26));
  return Array.from(
    { length: TOKENS },
    () => ` ${Array.from({ length: 3 + random(3) }, letter).join('')}`,
  );
}

const tokens = createTokens();
const text = tokens.join('');
const twice = text + text;
const bytes = Buffer.from(text, 'latin1');
/** The offset after each token. */
const ends = new Uint32Array(TOKENS);
tokens.reduce((end, token, i) => (ends[i] = end + token.length), 0);

/** The offset in UTF-16 units after token `index`. */
export function endOfToken(index: number): number {
  return Math.floor(index / TOKENS) * text.length + ends[index % TOKENS]!;
}

/** UTF-16 units of the first `count` tokens. */
export function unitsOf(count: number): number {
  return count === 0 ? 0 : endOfToken(count - 1);
}

/** A new string each time: no model's client returns the same string object twice. */
export function tokenAt(index: number): string {
  const at = index % TOKENS;
  return bytes.toString('latin1', at === 0 ? 0 : ends[at - 1], ends[at]);
}

/** @returns true if `piece` is what the text has at `offset`. */
export function isTextAt(offset: number, piece: string): boolean {
  for (let at = 0; at < piece.length; at += text.length) {
    const part = piece.length <= text.length ? piece : piece.slice(at, at + text.length);
    if (!twice.startsWith(part, (offset + at) % text.length)) return false;
  }
  return true;
}
