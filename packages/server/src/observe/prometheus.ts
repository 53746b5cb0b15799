import type { RequestListener } from 'node:http';
import { metrics } from '@opentelemetry/api';
import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';

/** Reads metrics in Prometheus' text format. */
export type ReadMetrics = () => Promise<string>;

/**
 * Makes this process's metrics readable by Prometheus. An application calls it before `createServer`; a
 * library must not call it.
 *
 * @returns undefined, without any change, if the process has a meter provider already, as with `node --import
 * ./telemetry.js`: that provider receives the metrics.
 */
export function exposePrometheus(): ReadMetrics | undefined {
  const exporter = new PrometheusExporter({ preventServerStart: true });
  const isOurs = metrics.setGlobalMeterProvider(new MeterProvider({ readers: [exporter] }));
  if (!isOurs) return undefined;
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
