const WIDTH = 720;
const HEIGHT = 150;
const LEFT = 64;
const RIGHT = WIDTH - 16;
const LEGEND = 30;
/** From the top of a graph to that of the next. */
const STEP = HEIGHT + 62;
const COLORS = ['#2563eb', '#d97706', '#059669', '#9333ea', '#dc2626'];

export interface LineGraph {
  title: string;
  /** The points of each line, from left to right, by its name. `y` is not negative. */
  lines: ReadonlyMap<string, readonly (readonly [x: number, y: number])[]>;
  /** The labels below the graph, in the order of `x`. */
  ticks: readonly { x: number; label: string }[];
  /** Powers of ten have equal distances. */
  isLogarithmic?: boolean;
}

/** @returns an SVG with the graphs below each other. A name has one color in all of them. */
export function drawGraphs(graphs: readonly LineGraph[]): string {
  const names = [...new Set(graphs.flatMap(({ lines }) => [...lines.keys()]))];
  const colors = new Map(names.map((name, i) => [name, COLORS[i % COLORS.length]!]));
  const height = LEGEND + graphs.length * STEP;
  const legend = names.map(
    (name, i) =>
      `<text x="${LEFT + i * 110}" y="20" fill="${colors.get(name)}" font-weight="600">${name}</text>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="12">
<rect width="${WIDTH}" height="${height}" fill="#fff"/>
${legend.join('\n')}
${graphs.map((graph, i) => drawGraph(graph, LEGEND + i * STEP + 28, colors)).join('\n')}
</svg>
`;
}

function drawGraph(graph: LineGraph, top: number, colors: ReadonlyMap<string, string>): string {
  const { title, lines, ticks, isLogarithmic = false } = graph;
  const ys = [...lines.values()].flat().map(([, y]) => y);
  const scale = isLogarithmic ? logarithmic(ys) : linear(ys);
  const [first, last] = [ticks[0]!.x, ticks.at(-1)!.x];
  const left = (x: number): string =>
    (LEFT + ((x - first) / Math.max(1e-9, last - first)) * (RIGHT - LEFT)).toFixed(1);
  const down = (y: number): string => (top + HEIGHT - scale.at(y) * HEIGHT).toFixed(1);
  const grid = scale.marks.map(
    (y) => `<path stroke="#e2e8f0" d="M${LEFT} ${down(y)}H${RIGHT}"/>
<text x="${LEFT - 6}" y="${Number(down(y)) + 4}" text-anchor="end">${y.toLocaleString('en')}</text>`,
  );
  const below = ticks.map(
    ({ x, label }) =>
      `<text x="${left(x)}" y="${top + HEIGHT + 16}" text-anchor="${x === last ? 'end' : 'middle'}">${label}</text>`,
  );
  const drawn = [...lines].map(([name, points]) => {
    const path = points.map(([x, y]) => `${left(x)},${down(y)}`).join(' ');
    return `<polyline fill="none" stroke="${colors.get(name)}" stroke-width="1.75" points="${path}"/>`;
  });
  return `<text x="${LEFT}" y="${top - 8}" font-weight="600">${title}</text>
${grid.join('\n')}
<path stroke="#94a3b8" fill="none" d="M${LEFT} ${top}V${top + HEIGHT}H${RIGHT}"/>
${below.join('\n')}
${drawn.join('\n')}`;
}

/** Heights of 0 to 1, and the values that are marked. */
interface Scale {
  at(y: number): number;
  marks: readonly number[];
}

function linear(ys: readonly number[]): Scale {
  const most = Math.max(1, ...ys);
  return { at: (y) => y / most, marks: [0, Math.round(most)] };
}

function logarithmic(ys: readonly number[]): Scale {
  const positive = ys.filter((y) => y > 0);
  const lowest = Math.floor(Math.log10(Math.min(...positive)));
  const highest = Math.max(lowest + 1, Math.ceil(Math.log10(Math.max(...positive))));
  return {
    at: (y) => Math.max(0, Math.log10(y) - lowest) / (highest - lowest),
    marks: Array.from({ length: highest - lowest + 1 }, (_, i) => 10 ** (lowest + i)),
  };
}
