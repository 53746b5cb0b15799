import { createChatTransport } from '@rivulet/client/ai-sdk';
import { createMockClient, type Script } from '@rivulet/client/testing';
import { createConnection } from '@rivulet/client/tanstack-ai';
import { RivuletAgent } from '@rivulet/client/ag-ui';
import { ProviderError } from '@rivulet/server';
import type { AnswerRequest, StreamError } from '@rivulet/client';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { filter, firstValueFrom } from 'rxjs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { providersOf } from '../harness/providers.js';
import { startServer } from '../harness/rivulet.js';
import { sdk, snapshotWhen } from '../harness/sdk.js';
import { type Call, stage } from '../harness/stage.js';
import { resultsTold, runs } from '../harness/tools.js';

/** The types of the package `ai` are declared anew for the bench, so that this program has none of them. */
interface UIMessage {
  id: string;
  role: 'user' | 'assistant' | 'system';
  parts: object[];
}
interface Transport {
  sendMessages(options: object): Promise<AsyncIterable<{ type: string; delta?: string }>>;
  reconnectToStream(options: object): Promise<unknown>;
  stop(chatId: string): void;
}

/** The text begins again after a tool was used. */
const RESTARTED: Script = [
  { type: 'text', text: 'Void.' },
  { type: 'tool_call', callId: 'c', name: 'height', arguments: { of: 'it' } },
  { type: 'tool_result', callId: 'c', name: 'height', result: 9 },
  { type: 'text', text: 'Void, too.' },
  { type: 'start', attempt: 2, reason: 'cut' },
  { type: 'text', text: 'It is 9 m.' },
  { type: 'end' },
];

/** The answer waits in a queue, and then for its model to be loaded. */
const DELAYED: Script = [
  { type: 'queued', ahead: 2 },
  { type: 'loading', provider: 'ollama', model: 'llama3.2' },
  { type: 'text', text: 'It is 9 m.' },
  { type: 'end' },
];
const LOADING = { provider: 'ollama', model: 'llama3.2' };

function scripted(script: Script = RESTARTED) {
  const asked: AnswerRequest[] = [];
  const client = createMockClient((request) => {
    asked.push(request);
    return script;
  });
  return { client, asked };
}

function userMessage(...parts: UIMessage['parts']): UIMessage {
  return { id: 'm', role: 'user', parts };
}

function send(
  client: ReturnType<typeof createMockClient>,
  messages: UIMessage[],
  trigger: 'submit-message' | 'regenerate-message' = 'submit-message',
) {
  const options = { chatId: 'chat', messageId: undefined, abortSignal: undefined };
  const transport = createChatTransport(client) as unknown as Transport;
  return transport.sendMessages({ ...options, trigger, messages });
}

async function readAll<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const value of source) all.push(value);
  return all;
}

const QUESTION = userMessage({ type: 'text', text: 'How high?' });
const FILE = userMessage({ type: 'file', mediaType: 'text/plain', url: 'data:,' });
const REFUSED = expect.objectContaining({ name: 'StreamError', code: 'unsupported' });

describe('the bridge to the AI SDK', () => {
  it('says that the text begins again, removes it where it can be, and keeps the tools', async () => {
    const chunks = await readAll(await send(scripted().client, [QUESTION]));
    const at = chunks.findIndex(({ type }) => type === 'reset-step');
    expect(chunks.slice(at - 1).map(({ type }) => type)).toEqual([
      'text-end',
      'reset-step',
      'data-rivulet-restart',
      'tool-input-available',
      'tool-output-available',
      'message-metadata',
      'text-start',
      'text-delta',
      'text-end',
      'finish',
    ]);
    expect(chunks[at + 1]).toMatchObject({ data: { attempt: 2, reason: 'cut' } });
    expect(chunks.at(-1)).toMatchObject({ messageMetadata: { attempt: 2 } });
  });

  it('tells the place in the queue and the loading of a model as transient data', async () => {
    const chunks = await readAll(await send(scripted(DELAYED).client, [QUESTION]));
    expect(chunks.filter(({ type }) => type.startsWith('data-'))).toEqual([
      { type: 'data-rivulet-queued', data: { ahead: 2 }, transient: true },
      { type: 'data-rivulet-loading', data: LOADING, transient: true },
    ]);
  });

  it('does not send what came before a restart as context', async () => {
    const { client, asked } = scripted();
    const parts: UIMessage['parts'] = [
      { type: 'text', text: 'Void.' },
      { type: 'data-rivulet-restart', data: { attempt: 2 } },
      { type: 'text', text: 'It is 9 m.' },
    ];
    await readAll(await send(client, [QUESTION, { id: 'a', role: 'assistant', parts }, QUESTION]));
    expect(asked[0]).toMatchObject({
      query: 'How high?',
      sessionId: 'chat',
      context: [
        { role: 'user', content: 'How high?' },
        { role: 'assistant', content: 'It is 9 m.' },
      ],
    });
  });

  it('asks past the caches to regenerate', async () => {
    const { client, asked } = scripted();
    await readAll(await send(client, [QUESTION], 'regenerate-message'));
    expect(asked[0]?.options).toMatchObject({ cache: 'reload' });
  });

  it('refuses files and system messages', async () => {
    const { client, asked } = scripted();
    await expect(send(client, [FILE])).rejects.toEqual(REFUSED);
    await expect(send(client, [{ ...QUESTION, role: 'system' }, QUESTION])).rejects.toEqual(
      REFUSED,
    );
    expect(asked).toEqual([]);
  });

  it('fails with the error of the answer, after its text', async () => {
    const script: Script = [
      { type: 'text', text: 'Where' },
      { type: 'error', code: 'rate_limited', retryAfterMs: 9 },
    ];
    const texts: string[] = [];
    const { client } = scripted(script);
    const chunks = await send(client, [QUESTION]);
    // A view that begins to read after the failure has the text, too.
    await firstValueFrom(client.active$.pipe(filter((active) => active.length === 0)));
    await nextTurn();
    const reading = (async () => {
      for await (const chunk of chunks) {
        if (chunk.type === 'text-delta') texts.push(chunk.delta ?? '');
      }
    })();
    const error = (await reading.catch((reason: unknown) => reason)) as StreamError;
    expect(error).toMatchObject({ code: 'rate_limited', retryAfterMs: 9 });
    expect(texts).toEqual(['Where']);
  });
});

const parameters = { jsonSchema: { type: 'object' } };
const tools = [{ name: 'place', description: 'Says where the user is.', parameters }];

/** A client of a server whose two providers the test plays. */
async function twoProviders() {
  const { provider, nextCall } = stage();
  const fallback = stage('fallback');
  const ended: string[] = [];
  const server = await startServer(provider, {
    tools: [runs('height', () => 9)],
    providers: providersOf(provider, fallback.provider),
    onEnd: ({ outcome }) => void ended.push(outcome),
  });
  return { client: sdk(server.url), nextCall, nextFallbackCall: fallback.nextCall, ended };
}

function callTools(call: Call, names: readonly string[]): void {
  for (const name of names) call.callTool(name, { of: 'it' });
  call.finish();
}

const CUT = new ProviderError('unavailable', 'unable to go on: cut');

/** Another tab answers the call of the page, and then the text begins again. */
async function restartElsewhere(
  {
    client,
    nextCall,
    nextFallbackCall,
  }: Pick<Awaited<ReturnType<typeof twoProviders>>, 'client' | 'nextCall' | 'nextFallbackCall'>,
  answerId: string,
): Promise<void> {
  const answer = client.resume(answerId);
  const { tools: used } = await snapshotWhen(answer, ({ tools: uses }) => uses.length > 0);
  const { callId } = used.find(({ status }) => status === 'awaiting')!;
  await answer.reply(callId, { result: 'Rome' });
  (await nextCall()).fail(CUT);
  const again = await nextFallbackCall();
  again.think('Rome?');
  again.say('In Rome.');
  again.finish();
  await answer.result;
}

describe('the bridge to the AI SDK, at a server', () => {
  /** A chat whose answer waits for the page, as `useChat` has it. */
  async function paused(calls: readonly string[] = ['place'], text = '') {
    const server = await twoProviders();
    const { client, nextCall } = server;
    const transport = createChatTransport(client, {
      tools,
      options: { thoughts: true },
    }) as unknown as Transport;
    const request = { chatId: 'chat', trigger: 'submit-message', abortSignal: undefined };
    const ask = (...messages: object[]) => transport.sendMessages({ ...request, messages });
    const asked = ask(QUESTION);
    const call = await nextCall();
    if (text !== '') call.say(text);
    callTools(call, calls);
    const chunks = await readAll(await asked);
    return { ...server, transport, chunks, ask };
  }

  it('ends the request at a call that waits, and goes on with the same answer after it', async () => {
    const { ask, chunks, nextCall } = await paused(['height', 'place', 'height']);
    // The server's call after the one that waits has no result before that has one: it is not shown yet.
    expect(chunks.map(({ type }) => type)).toEqual([
      'start',
      'tool-input-available',
      'tool-input-available',
      'tool-output-available',
      'finish',
    ]);
    const [start, , waiting] = chunks as { messageId?: string; toolCallId?: string }[];
    const { messageId: id } = start!;
    const { toolCallId } = waiting!;
    const part = { type: 'tool-place', toolCallId, state: 'output-available', output: 'Rome' };
    const going = ask(QUESTION, { id, role: 'assistant', parts: [part] }).then(readAll);
    const next = await nextCall();
    expect(resultsTold(next)).toMatchObject([{ result: 9 }, { result: 'Rome' }, { result: 9 }]);
    next.say('In Rome.');
    next.finish();
    const after = await going;
    expect(after[0]).toMatchObject({ type: 'start', messageId: id });
    expect(after.slice(1).map(({ type }) => type)).toEqual([
      'tool-output-available',
      'start-step',
      'tool-input-available',
      'tool-output-available',
      'text-start',
      'text-delta',
      'text-end',
      'finish',
    ]);
  });

  it('cancels an answer that waits where the user asks something else', async () => {
    const { client, ask, chunks, nextCall } = await paused();
    const [start, waiting] = chunks as { messageId?: string; toolCallId?: string }[];
    const { toolCallId } = waiting!;
    const part = { type: 'tool-place', toolCallId, state: 'input-available' };
    const message = { id: start!.messageId, role: 'assistant', parts: [part] };
    const other = ask(QUESTION, message, QUESTION);
    const call = await nextCall();
    expect(await client.resume(start!.messageId!).result).toMatchObject({ status: 'cancelled' });
    call.say('In Rome.');
    call.finish();
    await readAll(await other);
  });

  /** A chat whose page has the result of its call. `reply` sends it. */
  async function answered() {
    const server = await paused(['height', 'place'], 'Void.');
    const [{ messageId: id = '' } = {}] = server.chunks as { messageId?: string }[];
    const ids = server.chunks.flatMap((chunk) =>
      chunk.type === 'tool-input-available' ? (chunk as { toolCallId?: string }).toolCallId : [],
    );
    const parts = [9, 'Rome'].map((output, at) => {
      const state = 'output-available';
      return { type: 'dynamic-tool', toolCallId: ids[at], state, output };
    });
    const message = { id, role: 'assistant', metadata: { attempt: 1 }, parts };
    return { ...server, id, reply: () => server.ask(QUESTION, message) };
  }

  it('says that the text begins again after a call, and keeps all calls of the step', async () => {
    const { reply, nextCall, nextFallbackCall } = await answered();
    const after: string[] = [];
    for await (const { type } of await reply()) {
      after.push(type);
      if (after.length !== 2) continue;
      (await nextCall()).fail(CUT);
      const again = await nextFallbackCall();
      again.say('In Rome.');
      again.finish();
    }
    expect(after).toEqual([
      'start',
      'tool-output-available',
      'reset-step',
      'data-rivulet-restart',
      'tool-input-available',
      'tool-output-available',
      'tool-input-start',
      'tool-input-delta',
      'tool-output-available',
      'message-metadata',
      'start-step',
      'text-start',
      'text-delta',
      'text-end',
      'finish',
    ]);
  });

  it('says that the text has begun again since the answer paused', async () => {
    const { id, reply, ...server } = await answered();
    await restartElsewhere(server, id);
    const after = await readAll(await reply());
    expect(after.map(({ type }) => type)).toEqual([
      'start',
      'reset-step',
      'data-rivulet-restart',
      'tool-input-available',
      'tool-output-available',
      'tool-input-start',
      'tool-input-delta',
      'message-metadata',
      'reasoning-start',
      'reasoning-delta',
      'reasoning-end',
      'tool-output-available',
      'start-step',
      'text-start',
      'text-delta',
      'text-end',
      'finish',
    ]);
  });

  it('stops an answer that waits, and a late reply of the page does not go on', async () => {
    const { id, transport, client, reply, ended } = await answered();
    transport.stop('chat');
    expect(await client.resume(id).result).toMatchObject({ status: 'cancelled' });
    expect((await readAll(await reply())).map(({ type }) => type)).toContain('abort');
    expect(ended).toEqual(['cancelled']);
  });

  it('stops an answer that waits and that this page has never read', async () => {
    const { id, client } = await answered();
    const other = createChatTransport(client) as unknown as Transport;
    other.stop('chat');
    expect(await client.resume(id).result).toMatchObject({ status: 'cancelled' });
  });

  it('stops the model where the chat is stopped before it has found its answer', async () => {
    const { provider, nextCall } = stage();
    const server = await startServer(provider);
    const client = sdk(server.url);
    client.start({ query: 'How high?', sessionId: 'chat' });
    const call = await nextCall();
    const transport = createChatTransport(client) as unknown as Transport;
    const controller = new AbortController();
    const found = transport.reconnectToStream({ chatId: 'chat', abortSignal: controller.signal });
    controller.abort();
    expect(await found).toBeNull();
    await call.aborted;
    await firstValueFrom(client.active$.pipe(filter((active) => active.length === 0)));
  });
});

describe('the bridge to TanStack AI', () => {
  const context = { threadId: 'thread', runId: 'run' };
  const connect = (
    client: ReturnType<typeof createMockClient>,
    parts: object[],
    earlier: object[] = [],
  ) =>
    readAll(
      createConnection(client).connect(
        [...earlier, { id: 'm', role: 'user', parts }] as never,
        undefined,
        undefined,
        context,
      ),
    );
  const text = (content: string) => ({ type: 'text', content });

  it('tells the place in the queue and the loading of a model as custom events', async () => {
    const events = await connect(scripted(DELAYED).client, [text('How high?')]);
    expect(events.filter(({ type }) => type === 'CUSTOM')).toEqual([
      { type: 'CUSTOM', name: 'rivulet-queued', value: { ahead: 2 } },
      { type: 'CUSTOM', name: 'rivulet-loading', value: LOADING },
    ]);
  });

  it('goes on in another message where the text begins again, and says which is void', async () => {
    const events = await connect(scripted().client, [text('How high?')]);
    const restart = events.find(({ type }) => type === 'CUSTOM') as unknown as {
      value: { replaced: string; messageId: string };
    };
    const after = events.slice(events.indexOf(restart as never) + 1);
    expect(after[0]).toMatchObject({
      type: 'TEXT_MESSAGE_START',
      messageId: restart.value.messageId,
    });
    expect(after.map(({ type }) => type)).toContain('TOOL_CALL_RESULT');
    expect(restart.value.replaced).not.toBe(restart.value.messageId);
    expect(events[0]).toMatchObject({ type: 'RUN_STARTED', ...context });
    expect(events.at(-1)).toMatchObject({ type: 'RUN_FINISHED', finishReason: 'stop' });
  });

  it('says that the text has begun again since the answer paused', async () => {
    const server = await twoProviders();
    const connection = createConnection(server.client, { tools });
    const ask = (...messages: object[]) =>
      readAll(connection.connect(messages as never, undefined, undefined, context));
    const question = { id: 'm', role: 'user', parts: [text('Where?')] };
    const asked = ask(question);
    callTools(await server.nextCall(), ['place']);
    const before = (await asked) as { toolCallId?: string; parentMessageId?: string }[];
    const { toolCallId: id = '', parentMessageId = '' } = before.find((event) => event.toolCallId)!;
    await restartElsewhere(server, id.split(':')[0]!);
    const call = { type: 'tool-call', id, state: 'complete', output: 'Rome' };
    const after = await ask(question, { id: parentMessageId, role: 'assistant', parts: [call] });
    const restart = after.find(({ type }) => type === 'CUSTOM');
    expect(restart).toMatchObject({ value: { replaced: parentMessageId } });
    const { messageId } = (restart as unknown as { value: { messageId: string } }).value;
    expect(after).toContainEqual(
      expect.objectContaining({ type: 'TOOL_CALL_START', parentMessageId: messageId }),
    );
    expect(after).toContainEqual(
      expect.objectContaining({ type: 'TEXT_MESSAGE_CONTENT', messageId, delta: 'In Rome.' }),
    );
  });

  it('does not send a void message as context, and refuses files', async () => {
    const { client, asked } = scripted();
    const earlier = [1, 2].map((attempt) => ({
      id: `a:${attempt}`,
      role: 'assistant',
      parts: [text(`attempt ${attempt}`)],
    }));
    const question = { id: 'q', role: 'user', parts: [text('How high?')] };
    await connect(client, [text('Really?')], [question, ...earlier]);
    expect(asked[0]).toMatchObject({
      query: 'Really?',
      sessionId: 'thread run',
      context: [{ content: 'How high?' }, { content: 'attempt 2' }],
    });
    await expect(connect(client, [{ type: 'image' }])).rejects.toEqual(REFUSED);
  });
});

describe('the bridge to AG-UI', () => {
  it('tells the place in the queue and the loading of a model as custom events', async () => {
    const agent = new RivuletAgent({ client: scripted(DELAYED).client, threadId: 'thread' });
    agent.setMessages([{ id: 'm', role: 'user', content: 'How high?' }]);
    const events: unknown[] = [];
    agent.subscribe({
      onCustomEvent: ({ event: { name, value } }) => void events.push({ name, value }),
    });
    await agent.runAgent();
    expect(events).toEqual([
      { name: 'rivulet-queued', value: { ahead: 2 } },
      { name: 'rivulet-loading', value: LOADING },
    ]);
  });

  it('removes the void text where the text begins again, and keeps the tools', async () => {
    const agent = new RivuletAgent({ client: scripted().client, threadId: 'thread' });
    agent.setMessages([{ id: 'm', role: 'user', content: 'How high?' }]);
    const { result } = await agent.runAgent();
    expect(agent.messages).toMatchObject([
      { role: 'user', content: 'How high?' },
      { role: 'assistant', toolCalls: [{ id: 'answer-1:c', function: { name: 'height' } }] },
      { role: 'tool', toolCallId: 'answer-1:c', content: '9' },
      { role: 'assistant', content: 'It is 9 m.' },
    ]);
    expect(result).toMatchObject({ attempt: 2, finishReason: 'stop' });
  });

  it.each([
    ['says', false],
    ['has said', true],
  ])(
    'removes the void text that came before a call, where the model %s it again',
    async (_, isMissed) => {
      const server = await twoProviders();
      const agent = new RivuletAgent({
        client: server.client,
        threadId: 'thread',
        tools,
        options: { thoughts: true },
      });
      agent.setMessages([{ id: 'm', role: 'user', content: 'Where?' }]);
      const asked = agent.runAgent();
      const call = await server.nextCall();
      call.say('Void.');
      callTools(call, ['height', 'place']);
      await asked;
      const calls = agent.messages.flatMap(
        (message) => (message.role === 'assistant' && message.toolCalls) || [],
      );
      const toolCallId = calls[1]!.id;
      if (isMissed) await restartElsewhere(server, toolCallId.split(':')[0]!);
      agent.addMessage({ id: 'r', role: 'tool', toolCallId, content: '"Rome"' });
      const going = agent.runAgent();
      if (!isMissed) {
        (await server.nextCall()).fail(CUT);
        const again = await server.nextFallbackCall();
        again.think('Rome?');
        again.say('In Rome.');
        again.finish();
      }
      await going;
      expect(agent.messages.filter(({ role }) => role !== 'reasoning')).toMatchObject([
        { role: 'user' },
        { role: 'assistant', toolCalls: [{}, { id: toolCallId }] },
        { role: 'tool', content: '9' },
        { role: 'tool', toolCallId, content: '"Rome"' },
        { role: 'assistant', content: 'In Rome.' },
      ]);
      expect(agent.messages.filter(({ role }) => role === 'reasoning')).toMatchObject([
        { content: 'Rome?' },
      ]);
    },
  );

  it('sends no fields that AG-UI does not know, such as the messages of its input', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    onTestFinished(() => warn.mockRestore());
    const agent = new RivuletAgent({ client: scripted().client, threadId: 'thread' });
    agent.setMessages([{ id: 'm', role: 'user', content: 'How high?' }]);
    await agent.runAgent();
    expect(warn).not.toHaveBeenCalled();
  });

  it('can be cloned, as CopilotKit does for each thread', async () => {
    const { client, asked } = scripted();
    const agent = new RivuletAgent({ client, threadId: 'thread' }).clone();
    agent.setMessages([{ id: 'm', role: 'user', content: 'How high?' }]);
    await agent.runAgent();
    expect(asked[0]).toMatchObject({ query: 'How high?', sessionId: 'thread' });
  });
});
