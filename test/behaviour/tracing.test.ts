import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { EVENT } from '@rivulet/protocol';
import { defineTool, mockProvider, type Provider, ProviderError } from '@rivulet/server';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import * as z from 'zod';
import { recorded } from '../harness/log.js';
import { connect, next } from '../harness/plain-client.js';
import { startServer } from '../harness/rivulet.js';
import { entriesOf, serviceOf } from '../harness/service.js';
import { stage } from '../harness/stage.js';
import { registerTracer } from '../harness/tracer.js';

const { spans, tracer } = registerTracer();
beforeEach(() => void (spans.length = 0));

const ASK = { query: 'What is xyzzy?', principal: 'me' };
const USAGE = { input_tokens: 12, output_tokens: 40 };
const answers = (name: string): Provider =>
  mockProvider(() => [{ text: 'plugh' }, { finish: 'stop', usage: USAGE }], { name, model: 'm' });
const fails = (name: string): Provider =>
  mockProvider(() => [{ fail: new ProviderError('unavailable', 'unable to: xyzzy') }], {
    name,
    model: 'm',
  });
const named = (name: string) => spans.filter((span) => span.name === name);

describe('an answer', () => {
  it('is a span, and each call of a model is one inside it, with the attributes of GenAI', async () => {
    await entriesOf(serviceOf([fails('gemini'), answers('ollama')]).generateResponseStream(ASK));
    const [answer] = named('answer');
    expect(answer).toMatchObject({
      attributes: { 'rivulet.outcome': 'stop', 'rivulet.source': 'model' },
      status: undefined,
      parent: undefined,
    });
    expect(spans).toEqual([
      {
        name: 'generate_content m',
        kind: SpanKind.CLIENT,
        attributes: {
          'gen_ai.operation.name': 'generate_content',
          'gen_ai.provider.name': 'gcp.gemini',
          'gen_ai.request.model': 'm',
          'error.type': 'unavailable',
        },
        status: SpanStatusCode.ERROR,
        traceId: answer!.traceId,
        id: expect.any(String),
        parent: answer!.id,
      },
      {
        name: 'chat m',
        kind: SpanKind.CLIENT,
        attributes: {
          'gen_ai.operation.name': 'chat',
          'gen_ai.provider.name': 'ollama',
          'gen_ai.request.model': 'm',
          'gen_ai.response.finish_reasons': ['stop'],
          'gen_ai.usage.input_tokens': 12,
          'gen_ai.usage.output_tokens': 40,
        },
        status: undefined,
        traceId: answer!.traceId,
        id: expect.any(String),
        parent: answer!.id,
      },
      answer,
    ]);
    expect(JSON.stringify(spans)).not.toMatch(/xyzzy|plugh/);
  });

  it('that fails has the code as its error, and one from the cache calls no model', async () => {
    await entriesOf(serviceOf(fails('ollama')).generateResponseStream(ASK));
    expect(named('answer')[0]).toMatchObject({
      attributes: {
        'error.type': 'provider_unavailable',
        'rivulet.outcome': 'provider_unavailable',
      },
      status: SpanStatusCode.ERROR,
    });
    const llm = serviceOf(answers('ollama'));
    await entriesOf(llm.generateResponseStream(ASK));
    spans.length = 0;
    await entriesOf(llm.generateResponseStream(ASK));
    expect(spans.map(({ name }) => name)).toEqual(['answer']);
  });

  it('that its caller gives up ends its spans as cancelled', async () => {
    const { provider, nextCall } = stage('ollama');
    const stream = serviceOf(provider).generateResponseStream(ASK);
    const first = stream.next();
    (await nextCall()).say('plugh');
    await first;
    await stream.return();
    expect(spans.map(({ attributes }) => attributes['error.type'])).toEqual([
      'cancelled',
      'cancelled',
    ]);
  });

  it('is a child of the span that is active where generateResponseStream is called', async () => {
    const parent = tracer.startSpan('the request of the application');
    const stream = context.with(trace.setSpan(context.active(), parent), () =>
      serviceOf(answers('ollama')).generateResponseStream(ASK),
    );
    await entriesOf(stream);
    const { traceId, spanId } = parent.spanContext();
    expect(named('answer')).toMatchObject([{ traceId, parent: spanId }]);
  });

  it('has its span active while a provider and a tool run', async () => {
    const active: Record<string, string | undefined> = {};
    const note = (name: string): void => {
      active[name] = trace.getSpan(context.active())?.spanContext().spanId;
    };
    const provider: Provider = {
      name: 'ollama',
      model: 'm',
      async *stream({ messages }) {
        note('provider');
        if (messages.length === 1) yield { type: 'tool_call', name: 'look', arguments: {} };
        else yield { type: 'text', text: 'plugh' };
        yield { type: 'finish', reason: 'stop', usage: {} };
      },
    };
    const look = defineTool({
      name: 'look',
      description: 'Looks.',
      parameters: z.object({}),
      execute: () => note('tool'),
    });
    await entriesOf(serviceOf(provider, { tools: [look] }).generateResponseStream(ASK));
    expect(named('chat m').at(-1)?.id).toBe(active['provider']);
    expect(active['tool']).toBe(named('answer')[0]!.id);
  });

  it('has its trace in its log lines, with the ids that its reader is told', async () => {
    const log = recorded();
    const { url } = await startServer(answers('ollama'), { logger: log.logger });
    const socket = connect(url);
    const ended = next(socket, EVENT.end);
    const reply = await socket.emitWithAck(EVENT.start, { query: 'q', stream_id: 'mine' });
    await ended;
    const line = await vi.waitFor(() => {
      const found = log.events.find(({ event }) => event === 'LLM_STREAM_COMPLETED');
      expect(found).toBeDefined();
      return found!;
    });
    const [answer] = named('answer');
    expect(line).toMatchObject({ traceId: answer!.traceId, requestId: reply.request_id });
    expect(answer!.attributes['rivulet.request_id']).toBe(reply.request_id);
  });
});
