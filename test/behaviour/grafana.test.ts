import { readFileSync } from 'node:fs';
import { createNoopMeter, type Meter, type MeterProvider } from '@opentelemetry/api';
import { createLogger, createServer } from '@rivulet/server';
import { describe, expect, it } from 'vitest';
import { providersOf } from '../harness/providers.js';
import { startRedis } from '../harness/redis.js';
import { stage } from '../harness/stage.js';

/** A meter provider that keeps the Prometheus name of each instrument. */
function namesOfInstruments(): { names: Set<string>; provider: MeterProvider } {
  const names = new Set<string>();
  const meter = new Proxy<Meter>(createNoopMeter(), {
    get(target, property: keyof Meter) {
      const method = target[property].bind(target) as (...args: unknown[]) => unknown;
      if (!property.startsWith('create')) return method;
      return (name: string, ...args: unknown[]) => {
        const isCounter = /^create(Observable)?Counter$/.test(property);
        names.add(`${name.replaceAll('.', '_')}${isCounter ? '_total' : ''}`);
        return method(name, ...args);
      };
    },
  });
  return { names, provider: { getMeter: () => meter } };
}

interface Dashboard {
  templating: { list: { query: string | { query: string } }[] };
  panels: { targets?: { expr: string }[] }[];
}

function metricsIn({ templating, panels }: Dashboard, exported: ReadonlySet<string>): Set<string> {
  const queries = [
    ...templating.list.map(({ query }) => (typeof query === 'string' ? query : query.query)),
    ...panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
  ];
  const names = queries.flatMap((query) => query.match(/\b(llm|gen_ai_client|nodejs)_\w+/g) ?? []);
  return new Set(
    names.map((name) => {
      const family = name.replace(/_(bucket|sum|count)$/, '');
      return exported.has(name) ? name : family;
    }),
  );
}

describe('docs/grafana-dashboard.json', () => {
  it('shows each metric that the server exports, and no other', async () => {
    const { names, provider } = namesOfInstruments();
    const { url } = await startRedis();
    const server = await createServer({
      env: {},
      redis: { url },
      logger: createLogger('silent'),
      providers: providersOf(stage().provider),
      meterProvider: provider,
    });
    await server.close();
    expect(names).toContain('llm_stream_latency_ms');
    const file = new URL('../../docs/grafana-dashboard.json', import.meta.url);
    const shown = metricsIn(JSON.parse(readFileSync(file, 'utf8')) as Dashboard, names);
    expect([...shown].toSorted()).toEqual([...names].toSorted());
  });
});
