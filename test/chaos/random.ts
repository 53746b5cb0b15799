/** Numbers from 0 up to 1, the same for the same name. */
export type Random = () => number;

export function randomOf(name: string): Random {
  // FNV-1a, then mulberry32.
  let state = 2_166_136_261;
  for (const unit of name) state = Math.imul(state ^ unit.codePointAt(0)!, 16_777_619);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export function between(random: Random, least: number, most: number): number {
  return Math.floor(least + random() * (most - least + 1));
}
