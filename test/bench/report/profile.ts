import { readFile } from 'node:fs/promises';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Profiler } from 'node:inspector';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const SHOWN = 25;

/** The functions and files of a `.cpuprofile` with the most time of their own, in lines of text. */
export async function summarizeProfile(path: string): Promise<string> {
  const profile = JSON.parse(await readFile(path, 'utf8')) as Profiler.Profile;
  const { nodes, samples = [], timeDeltas = [] } = profile;
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const byFunction = new Map<string, number>();
  const byFile = new Map<string, number>();
  let busyMicros = 0;
  for (const [i, id] of samples.entries()) {
    const frame = frames.get(id);
    if (frame === undefined || frame.functionName === '(idle)') continue;
    const micros = timeDeltas[i] ?? 0;
    busyMicros += micros;
    const file = fileOf(frame.url);
    const name = frame.functionName || '(anonymous)';
    add(byFunction, file === '' ? name : `${name} ${file}:${frame.lineNumber + 1}`, micros);
    add(byFile, file === '' ? name : file, micros);
  }
  const lines = (times: Map<string, number>): string[] =>
    [...times]
      .toSorted(([, a], [, b]) => b - a)
      .slice(0, SHOWN)
      .map(
        ([what, micros]) => `${((100 * micros) / busyMicros).toFixed(1).padStart(6)} %  ${what}`,
      );
  return [
    `${(busyMicros / 1e6).toFixed(2)} s busy; self time by function:`,
    ...lines(byFunction),
    'by file:',
    ...lines(byFile),
  ].join('\n');
}

function fileOf(url: string): string {
  return url.startsWith('file:') ? relative(ROOT, fileURLToPath(url)) : url.replace(ROOT, '');
}

function add(times: Map<string, number>, key: string, micros: number): void {
  times.set(key, (times.get(key) ?? 0) + micros);
}
