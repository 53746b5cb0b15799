import { drawGraphs, type LineGraph } from '../../harness/line-graphs.js';
import type { StackName } from '../stacks/stack.js';
import { CURVES } from './curves.js';
import { NAMES, stacksOf } from './report.js';
import { medianOf, type Result } from './results.js';

/** @returns an SVG that has a graph for each figure of each curve; undefined if no stack has two points of one. */
export function plot(results: readonly Result[]): string | undefined {
  const graphs = CURVES.flatMap(({ subject, points, figures }) =>
    figures.flatMap(({ figure, title, unit }): LineGraph[] => {
      const lineOf = (stack: StackName) =>
        points.flatMap(({ measurement }, x) => {
          const y = medianOf(results, measurement, stack, figure);
          return y === undefined ? [] : [[x, y] as const];
        });
      const lines = stacksOf(results)
        .map((stack) => [NAMES[stack], lineOf(stack)] as const)
        .filter(([, line]) => line.length > 1);
      if (lines.length === 0) return [];
      const ticks = points.map(({ label }, x) => ({ x, label }));
      const name = `${subject}: ${title}, ${unit}`;
      return [{ title: name, lines: new Map(lines), ticks, isLogarithmic: true }];
    }),
  );
  return graphs.length === 0 ? undefined : drawGraphs(graphs);
}
