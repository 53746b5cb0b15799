import { drawGraphs } from '../harness/line-graphs.js';
import type { Sample } from './messages.js';

const FIGURES = [
  ['heapMb', 'heap after a collection of garbage, MB'],
  ['rssMb', 'resident memory, MB'],
  ['resources', 'sockets, timers and servers of the process'],
  ['generations', 'answers that are being generated'],
] as const;

/** @returns an SVG that has one graph for each figure, over minutes. */
export function drawPlot(samples: Record<'server' | 'visitors', readonly Sample[]>): string {
  const until = Math.max(...Object.values(samples).flatMap((all) => all.map((one) => one.seconds)));
  const ticks = [
    { x: 0, label: '0' },
    { x: until, label: `${(until / 60).toFixed(0)} minutes` },
  ];
  const graphs = FIGURES.map(([figure, title]) => {
    const lines = Object.entries(samples).map(
      ([name, all]) =>
        [name, all.map((sample) => [sample.seconds, sample[figure]] as const)] as const,
    );
    return { title, ticks, lines: new Map(lines) };
  });
  return drawGraphs(graphs);
}
