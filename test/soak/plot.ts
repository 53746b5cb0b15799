import type { Sample } from './messages.js';

const WIDTH = 720;
const HEIGHT = 130;
const LEFT = 60;
const COLORS = { server: '#2563eb', visitors: '#d97706' };
const FIGURES = [
  ['heapMb', 'heap after a collection of garbage, MB'],
  ['rssMb', 'resident memory, MB'],
  ['resources', 'sockets, timers and servers of the process'],
  ['generations', 'answers that are being generated'],
] as const;

/** @returns an SVG that has one graph for each figure, over minutes. */
export function drawPlot(samples: Record<'server' | 'visitors', readonly Sample[]>): string {
  const graphs = FIGURES.map(([figure, title], i) => {
    const top = i * (HEIGHT + 50) + 30;
    const most = Math.max(
      1,
      ...Object.values(samples)
        .flat()
        .map((sample) => sample[figure]),
    );
    const until = Math.max(
      ...Object.values(samples)
        .flat()
        .map(({ seconds }) => seconds),
    );
    const lines = Object.entries(samples).map(([name, all]) => {
      const points = all.map((sample) => {
        const x = LEFT + (sample.seconds / until) * (WIDTH - LEFT - 10);
        const y = top + HEIGHT - (sample[figure] / most) * HEIGHT;
        return `${x.toFixed(1)},${y.toFixed(1)}`;
      });
      const color = COLORS[name as keyof typeof COLORS];
      return `<polyline fill="none" stroke="${color}" stroke-width="1.5" points="${points.join(' ')}"/>`;
    });
    return `<text x="${LEFT}" y="${top - 8}">${title}</text>
<path stroke="#94a3b8" fill="none" d="M${LEFT} ${top}V${top + HEIGHT}H${WIDTH - 10}"/>
<text x="${LEFT - 6}" y="${top + 10}" text-anchor="end">${most.toFixed(0)}</text>
<text x="${LEFT - 6}" y="${top + HEIGHT}" text-anchor="end">0</text>
<text x="${WIDTH - 10}" y="${top + HEIGHT + 15}" text-anchor="end">${(until / 60).toFixed(0)} minutes</text>
${lines.join('\n')}`;
  });
  const height = FIGURES.length * (HEIGHT + 50) + 20;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="12">
<rect width="${WIDTH}" height="${height}" fill="#fff"/>
${graphs.join('\n')}
<text x="${LEFT}" y="${height - 6}" fill="${COLORS.server}">server</text>
<text x="${LEFT + 60}" y="${height - 6}" fill="${COLORS.visitors}">visitors</text>
</svg>
`;
}
