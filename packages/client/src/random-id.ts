/**
 * @returns 128 random bits in hexadecimal. Where `crypto` is missing, as in React Native, they are
 * from `Math.random`, which is not made for secrets: give the option `browserId` there.
 */
export function randomId(): string {
  const bytes = new Uint8Array(16);
  const { crypto } = globalThis as { crypto?: Crypto };
  // `randomUUID` would need a secure context.
  if (crypto !== undefined) crypto.getRandomValues(bytes);
  else for (const at of bytes.keys()) bytes[at] = Math.random() * 256;
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
