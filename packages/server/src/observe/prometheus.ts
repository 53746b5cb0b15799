import type { RequestListener } from 'node:http';
import { metrics } from '@opentelemetry/api';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';

/**
 * Makes this process's metrics readable by Prometheus, and gives what answers its requests. To be called
 * by a process, before `createServer`, and never by a library. Undefined, with nothing changed, where
 * the process has a meter provider already, as with `node --import ./telemetry.js`: metrics go there.
 */
export function exposePrometheus(): RequestListener | undefined {
  const exporter = new PrometheusExporter({
    preventServerStart: true,
    withoutScopeInfo: true,
    withoutTargetInfo: true,
  });
  const isOurs = metrics.setGlobalMeterProvider(new MeterProvider({ readers: [exporter] }));
  return isOurs ? exporter.getMetricsRequestHandler.bind(exporter) : undefined;
}
