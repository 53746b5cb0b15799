/**
 * @returns the SHA-256 of the text in UTF-8, in hexadecimal; undefined where `crypto.subtle` (outside of a
 * secure context) or `TextEncoder` is missing.
 */
export async function sha256(text: string): Promise<string | undefined> {
  const { crypto, TextEncoder } = globalThis as Partial<typeof globalThis>;
  if (crypto?.subtle === undefined || TextEncoder === undefined) return undefined;
  const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
