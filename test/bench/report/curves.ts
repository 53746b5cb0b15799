/** Figures of measurements that differ in one number. */
export interface Curve {
  title: string;
  points: readonly { label: string; measurement: string }[];
  figures: readonly { figure: string; title: string; unit: string }[];
}

export const CURVES: readonly Curve[] = [
  {
    title: 'Streams at 20 tokens a second: server CPU a token, added latency p99',
    points: [1, 10, 100, 1_000, 2_000, 4_000].map((streams) => ({
      label: streams.toLocaleString('en'),
      measurement: `paced-${streams}`,
    })),
    figures: [
      { figure: 'serverCpu', title: 'CPU', unit: 'µs' },
      { figure: 'p99', title: 'p99', unit: 'ms' },
    ],
  },
  {
    title: 'Length of an answer, one at a time at full speed: server CPU a token, whole answer p50',
    points: [1, 10, 100, 1_000].map((kilobytes) => ({
      label: kilobytes === 1_000 ? '1 MB' : `${kilobytes} KB`,
      measurement: `length-${kilobytes}`,
    })),
    figures: [
      { figure: 'serverCpu', title: 'CPU', unit: 'µs' },
      { figure: 'whole', title: 'whole', unit: 'ms' },
    ],
  },
  {
    title:
      'Readers of one stream of 200 tokens a second: server CPU a token and reader, added latency p99',
    points: [1, 10, 100].map((readers) => ({
      label: String(readers),
      measurement: `watchers-${readers}`,
    })),
    figures: [
      { figure: 'serverCpu', title: 'CPU', unit: 'µs' },
      { figure: 'p99', title: 'p99', unit: 'ms' },
    ],
  },
];
