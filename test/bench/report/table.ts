/** Rows under their heads, in Markdown; numbers with three digits after the point. */
export function table(heads: readonly string[], rows: readonly (string | number)[][]): string {
  const lines = [heads, heads.map(() => '---'), ...rows].map((row) =>
    row.map((cell) => (typeof cell === 'number' ? cell.toFixed(3) : cell)).join(' | '),
  );
  return lines.map((line) => `| ${line} |`).join('\n');
}
