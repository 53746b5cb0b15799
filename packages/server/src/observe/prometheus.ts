import type { RequestListener } from 'node:http';
import { type Meter, metrics } from '@opentelemetry/api';
import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';

/** Reads metrics in Prometheus' text format. */
export type ReadMetrics = () => Promise<string>;

/**
 * Makes this process's metrics readable by Prometheus. An application calls it before `createServer`; a
 * library must not call it.
 *
 * @param version the version of the server, for `rivulet_build_info`.
 * @returns undefined, without any change, if the process has a meter provider already, as with `node --import
 * ./telemetry.js`: that provider receives the metrics.
 */
export function exposePrometheus(version: string): ReadMetrics | undefined {
  const exporter = new PrometheusExporter({ preventServerStart: true });
  const provider = new MeterProvider({ readers: [exporter] });
  if (!metrics.setGlobalMeterProvider(provider)) return undefined;
  observeProcess(provider.getMeter('rivulet'), version);
  const [withoutTargetInfo, withoutScopeInfo] = [true, true];
  const serializer = new PrometheusSerializer(
    undefined,
    false,
    undefined,
    withoutTargetInfo,
    withoutScopeInfo,
  );
  return async () => serializer.serialize((await exporter.collect()).resourceMetrics);
}

/** The names are those of other exporters for Prometheus. */
function observeProcess(meter: Meter, version: string): void {
  const gauge = (
    name: string,
    description: string,
    read: () => number,
    labels?: Record<string, string>,
  ): void =>
    meter
      .createObservableGauge(name, { description })
      .addCallback((result) => result.observe(read(), labels));
  gauge('process_resident_memory_bytes', 'Resident memory of the process.', () =>
    process.memoryUsage.rss(),
  );
  gauge(
    'process_start_time_seconds',
    'When the process started, in seconds since 1970.',
    () => performance.timeOrigin / 1000,
  );
  gauge('rivulet_build_info', '1, with the version of the server.', () => 1, { version });
}

/** @returns a listener for requests of `/metrics`; undefined without `read`. */
export function serveMetrics(read: ReadMetrics | undefined): RequestListener | undefined {
  if (read === undefined) return undefined;
  return (_, response) => {
    read().then(
      (text) =>
        response
          .writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' })
          .end(text),
      () => response.writeHead(500).end(),
    );
  };
}
