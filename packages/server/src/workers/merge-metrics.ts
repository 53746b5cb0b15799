const SAMPLE_NAME = /^([a-zA-Z_:][\w:]*)(\{)?/;

/**
 * Merges metrics in Prometheus' text format. Each sample gets the label `worker`, and each metric is
 * described once.
 *
 * @param texts the metrics of each worker, by its number.
 */
export function mergeMetrics(texts: ReadonlyMap<number, string>): string {
  const families = new Map<string, { head: string[]; samples: string[] }>();
  for (const [worker, text] of texts) {
    let name = '';
    for (const line of text.split('\n')) {
      if (line === '') continue;
      const [sign, , described = ''] = line.split(' ', 3);
      const isHead = sign === '#';
      if (isHead) name = described;
      const family = families.get(name) ?? { head: [], samples: [] };
      families.set(name, family);
      if (!isHead) family.samples.push(label(line, worker));
      else if (!family.head.includes(line)) family.head.push(line);
    }
  }
  const lines = [...families.values()].flatMap(({ head, samples }) => [...head, ...samples]);
  return lines.map((line) => `${line}\n`).join('');
}

function label(sample: string, worker: number): string {
  return sample.replace(SAMPLE_NAME, (_, name: string, brace: string | undefined) =>
    brace === undefined ? `${name}{worker="${worker}"}` : `${name}{worker="${worker}",`,
  );
}
