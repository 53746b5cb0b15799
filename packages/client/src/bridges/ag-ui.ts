import { AbstractAgent, type AgentConfig, type Message } from '@ag-ui/client';
import type { ContextMessage } from '@rivulet/protocol';
import { Observable } from 'rxjs';
import type { Answer, Client, ClientTool, ToolReply } from '../types.js';
import { type AgUiEvent, agUiEvents, resultIdOf, resultOf, toolEvents } from './ag-ui-events.js';
import { type CallReplies, cancelWaiting, repliesOf, toolCallIdOf } from './calls.js';
import { type BridgeOptions, findAnswer, refuse, requestOf } from './conversation.js';
import type { Reading, ToolStep } from './steps.js';

export type { BridgeOptions } from './conversation.js';
export type { AnswerMetadata } from './metadata.js';

type Input = Parameters<AbstractAgent['run']>[0];
type Events = ReturnType<AbstractAgent['run']>;

export interface RivuletAgentConfig extends AgentConfig, BridgeOptions {
  client: Client;
}

/**
 * An agent of AG-UI whose runs are answers. `runAgent()` asks the last message; `connectAgent()` reads on the running
 * answer of the thread, after a reload, in another tab and on another device; `abortRun()` cancels the answer for all
 * who read it, also one that waits for the page; `detachActiveRun()` releases it. A failure is a `RUN_ERROR` with the code of a `StreamError`. Files and
 * system messages are refused with the code `unsupported`.
 *
 * @example new RivuletAgent({ client, threadId: 'chat-1' })
 */
export class RivuletAgent extends AbstractAgent {
  // No private fields: `clone()` of the parent makes an object without calling a constructor.
  protected config: RivuletAgentConfig;
  protected answer: Answer | undefined;

  constructor(config: RivuletAgentConfig) {
    super(config);
    this.config = config;
  }

  override run(input: Input): Events {
    const { client, ...options } = this.config;
    const tools = this.tools(input);
    const replied = repliesIn(input);
    const attempt = replied && attemptIn(input.messages, replied);
    return this.events(input, { tools, replies: replied?.replies, attempt }, async () => {
      if (replied !== undefined) return client.resume(replied.answerId, { tools });
      cancelWaiting(client, waitingIn(input.messages));
      const context = contextOf(input.messages);
      return client.start(requestOf(context, input.threadId, { ...options, tools }));
    });
  }

  /** Completes at once if no answer of the thread is running. */
  protected override connect(input: Input): Events {
    const { client } = this.config;
    const tools = this.tools(input);
    const isSought = (session: string): boolean => session === input.threadId;
    return this.events(input, { tools }, () => findAnswer(client, isSought, { tools }));
  }

  override abortRun(): void {
    const { answer, config } = this;
    const { status, tools } = answer?.getSnapshot() ?? {};
    const isPaused = status === 'released' && tools?.some((tool) => tool.status === 'awaiting');
    if (answer !== undefined && isPaused === true) config.client.resume(answer.id).cancel();
    else answer?.cancel();
    // `runAgent()` refuses a question while there are interrupts.
    this.pendingInterrupts = [];
  }

  override clone(): RivuletAgent {
    const clone = super.clone() as RivuletAgent;
    clone.config = this.config;
    return clone;
  }

  /** The tools of the agent, and the tools of the run, which the page runs. */
  protected tools({ tools }: Input): ClientTool[] {
    return [...(this.config.tools ?? []), ...tools.map(toolOf)];
  }

  protected events(
    input: Input,
    reading: Reading,
    open: () => Promise<Answer | undefined>,
  ): Events {
    const events$ = new Observable<AgUiEvent>((subscriber) => {
      let answer: Answer | undefined;
      const read = async (): Promise<void> => {
        answer = await open();
        if (subscriber.closed || answer === undefined) {
          answer?.release();
          return subscriber.complete();
        }
        this.answer = answer;
        for await (const event of eventsOf(answer, input, reading)) subscriber.next(event);
        subscriber.complete();
      };
      read().catch((error: unknown) => subscriber.error(error));
      return () => answer?.release();
    });
    return events$ as unknown as Events;
  }
}

/** Each text is a message. Where the text begins again, a snapshot of the messages removes what is void. */
async function* eventsOf(
  answer: Answer,
  input: Input,
  reading: Reading,
): AsyncGenerator<AgUiEvent> {
  const { replies } = reading;
  const isNamed = (id: string): boolean => id.startsWith(`${answer.id}:`);
  const isOwn = (message: Message): boolean =>
    isNamed(message.id) || (message.role === 'tool' && isNamed(message.toolCallId));
  const earlier = input.messages.filter((message) => !isOwn(message));
  const spareThoughtId = input.messages.find((it) => isOwn(it) && isThought(it))?.id;
  let isRestarted = false;
  const events = agUiEvents(
    answer,
    input,
    {
      messageId: (attempt, part) => `${answer.id}:${attempt}.${part}`,
      finished: () => ({}),
      restart({ start, tools }, messageId, thoughtIds) {
        isRestarted = true;
        const messages = [...earlier, ...toolMessages(answer, tools, messageId)];
        return [
          snapshotOf(messages, thoughtIds[0] ?? spareThoughtId),
          { type: 'CUSTOM', name: 'rivulet-restart', value: { reason: start.reason } },
        ];
      },
      tool: (step, messageId) =>
        // The page has added a message with its result. A restart removes that.
        step.reply === 'result' && replies?.has(step.event.callId) && !isRestarted
          ? []
          : toolEvents(answer, step, messageId),
      paused: (waiting) => {
        const interrupts = waiting.flatMap(({ callId, awaits }) =>
          awaits === 'approval' ? [interruptOf(toolCallIdOf(answer, callId))] : [],
        );
        const outcome = interrupts.length > 0 && { outcome: { type: 'interrupt', interrupts } };
        return { events: [], finished: { ...outcome } };
      },
      // The text before the pause stays, unless the text begins again.
      spareThoughtId: replies === undefined ? spareThoughtId : undefined,
    },
    reading,
  );
  for await (const event of events) {
    yield event;
    // The app kept a part of the answer, which comes again from its beginning.
    const isRepeated = replies === undefined && earlier.length < input.messages.length;
    if (event.type === 'RUN_STARTED' && isRepeated) yield snapshotOf(earlier, spareThoughtId);
  }
}

/**
 * @param voidThoughtId the id of a thought that is void. Clients keep all thoughts unless a snapshot has one, so
 * that it stays without its text where `messages` has none.
 */
function snapshotOf(messages: readonly Message[], voidThoughtId: string | undefined): AgUiEvent {
  const isKept = voidThoughtId !== undefined && !messages.some(isThought);
  const emptied = { id: voidThoughtId, role: 'reasoning', content: '' };
  return { type: 'MESSAGES_SNAPSHOT', messages: isKept ? [...messages, emptied] : messages };
}

const isThought = ({ role }: Message): boolean => role === 'reasoning';

const interruptOf = (toolCallId: string): object => ({
  id: toolCallId,
  reason: 'tool_call',
  toolCallId,
  responseSchema: {
    type: 'object',
    properties: { approved: { type: 'boolean' } },
    required: ['approved'],
  },
});

const toolOf = ({ name, description, parameters }: Input['tools'][number]): ClientTool => ({
  name,
  description,
  parameters: { jsonSchema: parameters ?? { type: 'object' } },
});

/** @returns the results and decisions of the page; undefined if the last message is a question. */
function repliesIn({ messages, resume = [] }: Input): CallReplies | undefined {
  if (messages.at(-1)?.role !== 'tool' && resume.length === 0) return undefined;
  const askedAt = messages.findLastIndex(({ role }) => role === 'user');
  const results = messages.slice(askedAt + 1).flatMap((message): [string, ToolReply][] => {
    if (message.role !== 'tool') return [];
    const { toolCallId, content, error } = message;
    return [[toolCallId, error === undefined ? { result: valueOf(textOf(content)) } : { error }]];
  });
  const decisions = resume.map(({ interruptId, status, payload }): [string, ToolReply] => {
    const approved = status === 'resolved' && isApproved(payload);
    return [interruptId, { approved }];
  });
  return repliesOf([...results, ...decisions]);
}

/** @returns the attempt that gave the calls. */
function attemptIn(
  messages: readonly Message[],
  { answerId, replies }: CallReplies,
): number | undefined {
  const isReplied = ({ id }: { id: string }): boolean =>
    [...replies.keys()].some((callId) => id === toolCallIdOf({ id: answerId }, callId));
  const of = messages.findLast((it) => it.role === 'assistant' && it.toolCalls?.some(isReplied));
  const [, attempt] = /^[^:]+:(\d+)\./.exec(of?.id ?? '') ?? [];
  return attempt === undefined ? undefined : Number(attempt);
}

function isApproved(payload: unknown): boolean {
  return typeof payload === 'object' && (payload as { approved?: unknown }).approved === true;
}

/** The value of a result that is JSON, else the text itself. */
function valueOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** @returns the calls that have no result. */
function waitingIn(messages: readonly Message[]): string[] {
  const done = new Set(messages.map((message) => message.role === 'tool' && message.toolCallId));
  return messages.flatMap((message) => {
    const calls = message.role === 'assistant' ? (message.toolCalls ?? []) : [];
    return calls.flatMap(({ id }) => (done.has(id) ? [] : [id]));
  });
}

function toolMessages(answer: Answer, tools: readonly ToolStep[], messageId: string): Message[] {
  const toolCalls = tools.flatMap(({ event }) => {
    if (event.type === 'tool_result') return [];
    const { name, arguments: args } = event;
    const id = toolCallIdOf(answer, event.callId);
    return [{ id, type: 'function' as const, function: { name, arguments: JSON.stringify(args) } }];
  });
  if (toolCalls.length === 0) return [];
  const results = tools.flatMap(({ event }): Message[] => {
    if (event.type === 'tool_call') return [];
    const id = resultIdOf(event, messageId);
    const toolCallId = toolCallIdOf(answer, event.callId);
    return [{ id, role: 'tool', toolCallId, ...resultOf(event) }];
  });
  return [{ id: messageId, role: 'assistant', toolCalls }, ...results];
}

/** @throws {StreamError} unsupported */
function contextOf(messages: readonly Message[]): ContextMessage[] {
  return messages.flatMap(({ role, content }): ContextMessage[] => {
    if (role === 'system' || role === 'developer') {
      refuse(`a ${role} message`, 'the server sets it, in `prepare`');
    }
    if (role !== 'user' && role !== 'assistant') return [];
    return [{ role, content: textOf(content ?? '') }];
  });
}

function textOf(content: Message['content']): string {
  if (!Array.isArray(content)) return typeof content === 'string' ? content : '';
  return content.reduce((text, part) => {
    if (part.type !== 'text') refuse('a file', 'a question is text');
    return text + part.text;
  }, '');
}
