const TOO_LONG =
  /context[ _](?:length|size|window)|input token count|prompt is too long|too many (?:input |prompt )?tokens|reduce the length/i;

/** @returns true if the message of a response says that the prompt is longer than the model's context. */
export function saysTooLong(words: string): boolean {
  return TOO_LONG.test(words);
}

/**
 * @returns the share of the prompt that fits, from 0 to 1; undefined if the message has no numbers. vLLM says
 * "maximum context length is 512 tokens. However, you requested 612 tokens".
 */
export function shareThatFits(words: string): number | undefined {
  const allowed = /(?:context (?:length|size|window)|limit|tokens allowed)\D{0,20}(\d+)/i.exec(
    words,
  )?.[1];
  const count = Math.max(...(words.match(/\d+/g) ?? []).map(Number));
  if (allowed === undefined) return undefined;
  return Number(allowed) < count ? Number(allowed) / count : undefined;
}
