/** A sample of Prometheus' text format. */
export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

export interface Exposition {
  /** By the metric's name: `counter`, `gauge` or `histogram`. */
  types: Map<string, string>;
  samples: Sample[];
}

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/y;

/** Reads Prometheus' text format strictly; throws with the line that is not of it. */
export function parseExposition(text: string): Exposition {
  const types = new Map<string, string>();
  const samples: Sample[] = [];
  if (!text.endsWith('\n')) throw new Error('no line feed at the end');
  for (const line of text.split('\n').slice(0, -1)) {
    const type = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line);
    if (type) {
      if (types.has(type[1]!)) throw new Error(`twice: ${line}`);
      types.set(type[1]!, type[2]!);
    } else if (line !== '' && !/^# (HELP|UNIT) \S+ \S/.test(line)) {
      samples.push(parseSample(line, types));
    }
  }
  return { types, samples };
}

function parseSample(line: string, types: ReadonlyMap<string, string>): Sample {
  const [, name = '', labels = '', value = ''] = LINE.exec(line) ?? [];
  const family = name.replace(/_(bucket|count|sum)$/, '');
  const known = types.has(name) || types.get(family) === 'histogram';
  if (!known || Number.isNaN(Number(value))) throw new Error(`no sample: ${line}`);
  return { name, labels: parseLabels(labels, line), value: Number(value) };
}

function parseLabels(text: string, line: string): Record<string, string> {
  const labels: Record<string, string> = {};
  LABEL.lastIndex = 0;
  while (LABEL.lastIndex < text.length) {
    const match = LABEL.exec(text);
    if (match === null) throw new Error(`no labels: ${line}`);
    labels[match[1]!] = match[2]!;
  }
  return labels;
}
