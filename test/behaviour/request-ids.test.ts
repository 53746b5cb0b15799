import { EVENT } from '@rivulet/protocol';
import {
  defineTool,
  type Logger,
  mockProvider,
  type Provider,
  ProviderError,
} from '@rivulet/server';
import { pino } from 'pino';
import { describe, expect, it, vi } from 'vitest';
import * as z from 'zod';
import { recorded } from '../harness/log.js';
import { connect, next } from '../harness/plain-client.js';
import { startServer } from '../harness/rivulet.js';
import { sdk, snapshotWhen } from '../harness/sdk.js';
import { entriesOf, serviceOf } from '../harness/service.js';
import { stage } from '../harness/stage.js';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
type Line = Record<string, unknown>;

/** Keeps every line, those of the level debug, too. */
function everyLine(): { logger: Logger; lines: Line[] } {
  const lines: Line[] = [];
  const write = (line: string): void => void lines.push(JSON.parse(line) as Line);
  return { logger: pino({ base: null, level: 'debug' }, { write }), lines };
}

describe('a stream', () => {
  it('has one id of the server in its replies and in every line of it', async () => {
    const { logger, lines } = everyLine();
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider, { logger });
    const me = { browser_id: 'the-browser-of-the-first-visitor' };
    const socket = connect(url, me);
    const ended = next(socket, EVENT.end);
    const reply = await socket.emitWithAck(EVENT.start, { query: 'q', stream_id: 'mine' });
    const resumed = await connect(url, me).emitWithAck(EVENT.resume, {
      stream_id: 'mine',
      offset: 0,
    });
    const call = await nextCall();
    call.say('It ends.');
    call.finish();
    await ended;
    await vi.waitFor(() => expect(lines.at(-1)).toMatchObject({ event: 'LLM_STREAM_COMPLETED' }));
    const { request_id: requestId } = reply;
    expect(requestId).toMatch(UUID);
    expect(resumed.request_id).toBe(requestId);
    const opened = lines.filter(({ event }) => event === 'CONNECTION_OPENED');
    const [first, second] = opened.map(({ connectionId }) => connectionId);
    expect(first).toMatch(UUID);
    expect(second).not.toBe(first);
    expect(lines).toMatchObject([
      { event: 'CONNECTION_OPENED', connectionId: first },
      { event: 'STREAM_STARTED', requestId, connectionId: first },
      { event: 'CONNECTION_OPENED', connectionId: second },
      { event: 'STREAM_RESUMED', requestId, connectionId: second },
      { event: 'LLM_STREAM_COMPLETED', requestId, connectionId: first },
    ]);
    expect(JSON.stringify(lines)).not.toMatch(/mine|first-visitor/);
  });

  it('has its id in every line of a fallback, a refused key and a tool that fails', async () => {
    const log = recorded();
    const refuses = mockProvider(
      () => [{ fail: new ProviderError('misconfigured', 'unable to: no') }],
      { name: 'gemini', model: 'm' },
    );
    const calls: Provider = {
      name: 'ollama',
      model: 'm',
      async *stream({ messages }) {
        if (messages.length === 1) yield { type: 'tool_call', name: 'look', arguments: {} };
        else yield { type: 'text', text: 'x' };
        yield { type: 'finish', reason: 'stop', usage: {} };
      },
    };
    const look = defineTool({
      name: 'look',
      description: 'Looks.',
      parameters: z.object({}),
      execute() {
        throw new Error('no');
      },
    });
    const llm = serviceOf([refuses, calls], { logger: log.logger, tools: [look] });
    const ids = { requestId: 'r-1', connectionId: 'c-1' };
    await entriesOf(llm.generateResponseStream({ query: 'q' }, ids));
    expect(log.events).toMatchObject([
      { event: 'LLM_PROVIDER_MISCONFIGURED', ...ids },
      { event: 'LLM_STREAM_API_FALLBACK', ...ids },
      { event: 'LLM_TOOL_FAILED', ...ids },
      { event: 'LLM_STREAM_COMPLETED', ...ids },
    ]);
  });

  it('without a connection has an id of its own', async () => {
    const log = recorded();
    const provider = mockProvider(() => [{ text: 'x' }, { finish: 'stop' }]);
    await entriesOf(
      serviceOf(provider, { logger: log.logger }).generateResponseStream({ query: 'q' }),
    );
    expect(log.events).toEqual([
      expect.objectContaining({ requestId: expect.stringMatching(UUID) }),
    ]);
    expect(log.events[0]).not.toHaveProperty('connectionId');
    expect(log.events[0]).not.toHaveProperty('traceId');
  });

  it('that shares an answer says which, and has an id of its own', async () => {
    const { logger, lines } = everyLine();
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider, { logger });
    const [one, two] = [connect(url), connect(url)];
    const first = await one.emitWithAck(EVENT.start, { query: 'q' });
    const second = await two.emitWithAck(EVENT.start, { query: 'q' });
    expect(second.request_id).not.toBe(first.request_id);
    expect(lines.at(-1)).toMatchObject({
      event: 'STREAM_SHARES_ANSWER',
      requestId: second.request_id,
      answerRequestId: first.request_id,
      connectionId: expect.stringMatching(UUID),
    });
    const ended = [next(one, EVENT.end), next(two, EVENT.end)];
    const call = await nextCall();
    call.say('x');
    call.finish();
    await Promise.all(ended);
  });
});

describe('a snapshot of the client', () => {
  it('has the id of the answer in the server’s log, also after a failure', async () => {
    const log = recorded();
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider, { logger: log.logger });
    const answer = sdk(url).start({ query: 'q' });
    expect(answer.getSnapshot().requestId).toBeUndefined();
    const { requestId } = await snapshotWhen(
      answer,
      (snapshot) => snapshot.requestId !== undefined,
    );
    (await nextCall()).fail(new ProviderError('bad_request', 'unable to answer: no'));
    const failed = await snapshotWhen(answer, ({ status }) => status === 'failed');
    expect(failed.requestId).toBe(requestId);
    expect(log.events.at(-1)).toMatchObject({ event: 'LLM_STREAM_GENERATION_FAILED', requestId });
  });
});

describe('a fault in `authenticate`', () => {
  it('is logged with the id of the connection', async () => {
    const log = recorded();
    const { url } = await startServer(stage().provider, {
      logger: log.logger,
      authenticate() {
        throw new Error('no database');
      },
    });
    await next(connect(url, { token: 't' }), 'connect_error');
    expect(log.events).toMatchObject([
      { event: 'AUTHENTICATE_FAILED', connectionId: expect.stringMatching(UUID), count: 1 },
    ]);
  });
});
