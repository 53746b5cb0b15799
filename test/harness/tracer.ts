import { AsyncLocalStorage } from 'node:async_hooks';
import {
  type Attributes,
  type Context,
  context,
  type ContextManager,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  type SpanOptions,
  trace,
  type Tracer,
} from '@opentelemetry/api';

/** A span as it was when it ended. */
export interface EndedSpan {
  name: string;
  kind: number | undefined;
  attributes: Attributes;
  /** `SpanStatusCode`; undefined if it was not set. */
  status: number | undefined;
  traceId: string;
  id: string;
  /** The id of the span that is its parent. */
  parent: string | undefined;
}

/** Registers a tracer provider that keeps the spans which ended, as the process's own SDK would. */
export function registerTracer(): { spans: EndedSpan[]; tracer: Tracer } {
  const spans: EndedSpan[] = [];
  let created = 0;
  const idOf = (length: number): string => (++created).toString(16).padStart(length, '0');

  function startSpan(name: string, options: SpanOptions = {}, parent = context.active()): Span {
    const of = trace.getSpanContext(parent);
    const spanContext: SpanContext = {
      traceId: of?.traceId ?? idOf(32),
      spanId: idOf(16),
      traceFlags: 1,
    };
    const attributes: Attributes = { ...options.attributes };
    let status: number | undefined;
    const span: Span = {
      spanContext: () => spanContext,
      setAttribute(key, value) {
        attributes[key] = value;
        return span;
      },
      setAttributes(more) {
        Object.assign(attributes, more);
        return span;
      },
      setStatus({ code }) {
        status = code;
        return span;
      },
      end() {
        const { traceId, spanId: id } = spanContext;
        const { kind } = options;
        spans.push({ name, kind, attributes, status, traceId, id, parent: of?.spanId });
      },
      addEvent: () => span,
      addLink: () => span,
      addLinks: () => span,
      updateName: () => span,
      isRecording: () => true,
      recordException: () => {},
    };
    return span;
  }

  const tracer: Tracer = {
    startSpan,
    startActiveSpan: () => {
      throw new Error('unable to start an active span: this tracer has none');
    },
  };
  trace.setGlobalTracerProvider({ getTracer: () => tracer });
  context.setGlobalContextManager(contextManager());
  return { spans, tracer };
}

function contextManager(): ContextManager {
  const storage = new AsyncLocalStorage<Context>();
  const manager: ContextManager = {
    active: () => storage.getStore() ?? ROOT_CONTEXT,
    with: (active, fn, thisArg, ...args) => storage.run(active, () => fn.apply(thisArg, args)),
    bind: (_, target) => target,
    enable: () => manager,
    disable: () => manager,
  };
  return manager;
}
