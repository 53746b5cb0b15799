import { EVENT } from '@rivulet/protocol';
import {
  type EndedStream,
  mockProvider,
  type OnEnd,
  type Provider,
  ProviderError,
  type ServerOptions,
  StreamError,
  type Tool,
} from '@rivulet/server';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { collect, next } from '../harness/plain-client.js';
import { startServer } from '../harness/rivulet.js';
import { connectAs, keepingLogger, start, USERS } from '../harness/users.js';

/** An object whose every use throws, also `instanceof`. */
function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

/** `error` with getters that throw instead of its properties. */
function withHostileGetters<T extends Error>(error: T): T {
  const names = ['name', 'message', 'stack', 'cause', 'code', 'failure', 'retryAfterMs', 'detail'];
  for (const name of names) {
    Object.defineProperty(error, name, {
      get: () => {
        throw new Error('a getter threw');
      },
    });
  }
  return error;
}

const wrongCode = <T extends object>(error: T, properties: object): T =>
  Object.assign(error, properties);

const THROWN: Record<string, () => unknown> = {
  undefined: () => undefined,
  null: () => null,
  'a string': () => 'no',
  'a symbol': () => Symbol('no'),
  'a frozen object': () => Object.freeze({}),
  'an object without a prototype': () => Object.create(null) as unknown,
  'an Error with hostile getters': () => withHostileGetters(new Error('no')),
  'an Error with itself as the cause': () => {
    const error = new Error('no');
    return Object.assign(error, { cause: error });
  },
  'an Error whose cause is a revoked proxy': () => new Error('no', { cause: revoked() }),
  'a revoked proxy': () => revoked(),
  'a ProviderError with hostile getters': () =>
    withHostileGetters(new ProviderError('unavailable', 'unable to answer: no')),
  'a ProviderError with an unknown failure': () =>
    wrongCode(new ProviderError('unavailable', 'unable to answer: no'), { failure: 'gone' }),
  'a StreamError with hostile getters': () => withHostileGetters(new StreamError('internal', 'no')),
  'a StreamError with an unknown code': () =>
    wrongCode(new StreamError('internal', 'unable to answer: no'), { code: 'gone' }),
};

/** The values that the process reports as unhandled. With none, a process goes on. */
function unhandled(): unknown[] {
  const reported: unknown[] = [];
  const report = (reason: unknown): void => void reported.push(reason);
  const events = ['unhandledRejection', 'uncaughtException'] as const;
  for (const event of events) {
    const others = process.listeners(event as 'uncaughtException');
    process.removeAllListeners(event);
    process.on(event, report);
    onTestFinished(() => {
      process.off(event, report);
      for (const other of others) process.on(event, other);
    });
  }
  return reported;
}

const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
};

/** Asks once. @returns the last message and the log. */
async function answerOf(provider: Provider, options: ServerOptions = {}) {
  const { logger, logged } = keepingLogger();
  const { url } = await startServer(provider, { ...USERS, logger, ...options });
  const socket = connectAs(url, 'ann');
  const collected = collect(socket);
  await start(socket, 'A');
  const { terminal } = await collected;
  return { terminal, logged };
}

const HELLO = mockProvider(() => [{ text: 'Hello.' }, { finish: 'stop' }]);
const calling = mockProvider(({ messages }) =>
  messages.at(-1)?.role === 'tool'
    ? [{ text: 'Done.' }, { finish: 'stop' }]
    : [{ call: 'do', arguments: {} }, { finish: 'stop' }],
);

describe.each(Object.entries(THROWN))('%s, when it is thrown', (_, thrown) => {
  const fail = (): never => {
    throw thrown();
  };
  const provider = (stream: Provider['stream']): Provider => ({
    name: 'own',
    model: 'm',
    stream,
  });

  it.each<[string, Provider]>([
    [
      'before the first text',
      provider(async function* () {
        yield fail();
      }),
    ],
    ['by `stream` itself', provider(fail)],
    [
      'after a text',
      provider(async function* () {
        yield { type: 'text', text: 'Hel' };
        fail();
      }),
    ],
    [
      'by a delta',
      provider(async function* () {
        yield {
          get type() {
            return fail();
          },
        };
      }),
    ],
    ['by `prepare`', { ...HELLO, prepare: async () => fail() }],
  ])('by a provider %s, ends the stream with an error', async (_name, failing) => {
    const reported = unhandled();
    const { terminal } = await answerOf(failing);
    expect(terminal).toMatchObject({ type: EVENT.error, code: 'internal' });
    await turns();
    expect(reported).toEqual([]);
  });

  it.each<[string, Partial<Tool>]>([
    ['call', { call: async () => fail() }],
    ['check', { awaits: 'approval', check: async () => fail(), call: async () => 1 }],
  ])('by `%s` of a tool, is an error for the model', async (_name, fields) => {
    const reported = unhandled();
    const parameters = { type: 'object' };
    const tool = { name: 'do', description: 'Does.', parameters, ...fields } as Tool;
    const ended: EndedStream[] = [];
    const onEnd: OnEnd = (stream) => void ended.push(stream);
    const { terminal } = await answerOf(calling, { tools: [tool], onEnd });
    await vi.waitFor(() =>
      expect(ended).toMatchObject([{ tools: [{ error: 'the tool failed' }], text: 'Done.' }]),
    );
    expect(terminal).toMatchObject({ type: EVENT.end });
    await turns();
    expect(reported).toEqual([]);
  });

  it('by `prepare` of the application, ends the stream with an error and is logged', async () => {
    const reported = unhandled();
    const { terminal, logged } = await answerOf(HELLO, { prepare: async () => fail() });
    expect(terminal).toMatchObject({ type: EVENT.error, code: 'internal' });
    expect(logged).toContainEqual(expect.objectContaining({ event: 'LLM_HOOK_FAILED' }));
    await turns();
    expect(reported).toEqual([]);
  });

  it('by `onEnd`, changes nothing and is logged', async () => {
    const reported = unhandled();
    const { terminal, logged } = await answerOf(HELLO, { onEnd: () => fail() });
    expect(terminal).toMatchObject({ type: EVENT.end });
    await vi.waitFor(() =>
      expect(logged).toContainEqual(expect.objectContaining({ event: 'LLM_HOOK_FAILED' })),
    );
    expect(reported).toEqual([]);
  });

  it('by `authenticate`, refuses the connection', async () => {
    const reported = unhandled();
    const { logger } = keepingLogger();
    const { url } = await startServer(HELLO, { authenticate: () => fail(), logger });
    const error = await next<Error & { data: object }>(connectAs(url, 'ann'), 'connect_error');
    expect(error.data).toMatchObject({ code: 'internal' });
    expect(reported).toEqual([]);
  });
});

describe('ProviderError', () => {
  it('refuses another kind of failure, and names the kinds', () => {
    const wrong = 'provider_unavailable' as 'unavailable';
    expect(() => new ProviderError(wrong, 'unable to answer: no')).toThrow(
      'unable to create a ProviderError: "provider_unavailable" is not a kind of failure; ' +
        'use one of unavailable, busy, misconfigured, bad_request, content_filter, truncated',
    );
  });
});
