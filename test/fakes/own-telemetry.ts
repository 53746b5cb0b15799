import { metrics } from '@opentelemetry/api';
import {
  ConsoleMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';

/** As a user's `--import ./telemetry.js`: a meter provider of their own, that prints every 100 ms. */
const reader = new PeriodicExportingMetricReader({
  exporter: new ConsoleMetricExporter(),
  exportIntervalMillis: 100,
  exportTimeoutMillis: 100,
});
metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }));
