/** Figures of measurements that differ in one number. */
export interface Curve {
  subject: string;
  points: readonly { label: string; measurement: string }[];
  figures: readonly { figure: string; title: string; short: string; unit: string }[];
}

export const CURVES: readonly Curve[] = [
  {
    subject: 'Streams at 20 tokens a second',
    points: [1, 10, 100, 1_000, 2_000, 4_000].map((streams) => ({
      label: streams.toLocaleString('en'),
      measurement: `paced-${streams}`,
    })),
    figures: [
      { figure: 'serverCpu', title: 'server CPU a token', short: 'CPU', unit: 'µs' },
      { figure: 'p99', title: 'added latency p99', short: 'p99', unit: 'ms' },
    ],
  },
  {
    subject: 'Length of an answer, one at a time at full speed',
    points: [1, 10, 100, 1_000].map((kilobytes) => ({
      label: kilobytes === 1_000 ? '1 MB' : `${kilobytes} KB`,
      measurement: `length-${kilobytes}`,
    })),
    figures: [
      { figure: 'serverCpu', title: 'server CPU a token', short: 'CPU', unit: 'µs' },
      { figure: 'whole', title: 'whole answer p50', short: 'whole', unit: 'ms' },
    ],
  },
  {
    subject: 'Readers of one stream of 200 tokens a second',
    points: [1, 10, 100].map((readers) => ({
      label: String(readers),
      measurement: `watchers-${readers}`,
    })),
    figures: [
      { figure: 'serverCpu', title: 'server CPU a token and reader', short: 'CPU', unit: 'µs' },
      { figure: 'p99', title: 'added latency p99', short: 'p99', unit: 'ms' },
    ],
  },
];
