import {
  type Attributes,
  type Context,
  isSpanContextValid,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';

/** The tracer of the process's registered provider. Without a provider, its spans record nothing. */
const tracer = trace.getTracer('rivulet');

/** A span, and the context for its children. */
export interface TracedSpan {
  readonly span: Span;
  readonly context: Context;
}

/** Starts the span of one answer. */
export function startAnswerSpan(parent: Context, attributes: Attributes): TracedSpan {
  return inContext(tracer.startSpan('answer', { attributes }, parent), parent);
}

/** Starts the span of one call of a model. `gen-ai.ts` defines the name and the attributes. */
export function startCallSpan(name: string, attributes: Attributes, parent: Context): TracedSpan {
  return inContext(tracer.startSpan(name, { kind: SpanKind.CLIENT, attributes }, parent), parent);
}

function inContext(span: Span, parent: Context): TracedSpan {
  // A span that does not record needs no copy of the context.
  return { span, context: span.isRecording() ? trace.setSpan(parent, span) : parent };
}

/** Ends a span. `errorType` is the class of a failure, undefined for a success. */
export function endSpan(span: Span, errorType: string | undefined): void {
  // The status has no message, because it could quote the prompt.
  if (errorType !== undefined) {
    span.setAttribute('error.type', errorType).setStatus({ code: SpanStatusCode.ERROR });
  }
  span.end();
}

/** @returns the trace that the span belongs to; undefined if there is none. */
export function traceIdOf(span: Span): string | undefined {
  const spanContext = span.spanContext();
  return isSpanContextValid(spanContext) ? spanContext.traceId : undefined;
}
