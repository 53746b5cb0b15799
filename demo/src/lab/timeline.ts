import { isFinal } from './column.js';
import type { Meter } from './meter.js';

const WIDTH = 640;
const HEIGHT = 72;
const BAR = { y: 24, height: 24 };
const SVG = 'http://www.w3.org/2000/svg';

const NAMES: Record<string, string> = {
  connecting: 'connecting',
  opening: 'opening the answer',
  queued: 'in the queue',
  loading: 'loading the model',
  waiting: 'waiting',
  thinking: 'thinking',
  streaming: 'text',
  reconnecting: 'gap',
  done: 'end',
  cancelled: 'stopped',
  failed: 'failed',
  released: 'released',
};

/** Draws an answer's course: its phases as bars, its chunks as ticks, faults as lines. */
export function drawTimeline(host: HTMLElement, meter: Meter | undefined, now: number): void {
  if (meter === undefined) return host.replaceChildren('Ask something to see its timeline.');
  const { marks, began } = meter;
  const states = marks.filter((mark) => mark.type === 'status');
  const last = states.at(-1);
  const isOver = last !== undefined && isFinal(last.status);
  const end = isOver ? last.at : now;
  const scale = WIDTH / Math.max(1_000, end - began);
  const x = (at: number): number => Math.min(WIDTH, (at - began) * scale);

  const svg = element('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img' });
  const descriptions: string[] = [];
  states.forEach((state, i) => {
    const until = states[i + 1]?.at ?? end;
    descriptions.push(`${nameOf(state.status)} at ${seconds(state.at - began)}`);
    if (isFinal(state.status)) return;
    const width = Math.max(1, x(until) - x(state.at));
    svg.append(element('rect', { class: state.status, x: x(state.at), width, ...BAR }));
  });
  const faults = marks.filter((mark) => mark.type === 'fault');
  for (const { at } of marks.filter((mark) => mark.type === 'text')) {
    const position = { x1: x(at), x2: x(at), y1: BAR.y, y2: BAR.y + BAR.height };
    svg.append(element('line', { class: 'chunk', ...position }));
  }
  faults.forEach(({ at, name }, i) => {
    descriptions.push(`${name} at ${seconds(at - began)}`);
    const position = { x1: x(at), x2: x(at), y1: 18, y2: HEIGHT - 18 };
    svg.append(element('line', { class: 'fault', ...position }));
    svg.append(label(String(i + 1), x(at), 14, 'middle', 'fault'));
  });
  svg.append(
    label('0 s', 0, HEIGHT - 4, 'start'),
    label(seconds(end - began), WIDTH, HEIGHT - 4, 'end'),
  );
  svg.setAttribute('aria-label', `Timeline: ${descriptions.join(', ')}`);
  const phases = new Set(states.map(({ status }) => status));
  host.replaceChildren(
    svg,
    legend([
      ...[...phases].map((status) => ({ kind: status, text: nameOf(status) })),
      ...faults.map(({ at, name }, i) => ({
        kind: 'fault',
        text: `${i + 1} ${name} at ${seconds(at - began)}`,
      })),
    ]),
  );
}

function legend(entries: { kind: string; text: string }[]): HTMLElement {
  const list = document.createElement('ul');
  list.className = 'legend';
  for (const { kind, text } of entries) {
    const item = document.createElement('li');
    item.className = kind;
    item.textContent = text;
    list.append(item);
  }
  return list;
}

function nameOf(status: string): string {
  return NAMES[status] ?? status;
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

function label(text: string, x: number, y: number, side: string, kind = ''): SVGElement {
  const node = element('text', { x, y, 'text-anchor': side, class: kind });
  node.textContent = text;
  return node;
}

function element(name: string, attributes: Record<string, string | number>): SVGElement {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  return node;
}
