import { AbstractAgent, type AgentConfig, type Message } from '@ag-ui/client';
import type { ContextMessage } from '@rivulet/protocol';
import { Observable } from 'rxjs';
import type { Answer, Client, ToolCallEvent, ToolResultEvent } from '../types.js';
import { type AgUiEvent, agUiEvents, resultIdOf, resultOf } from './ag-ui-events.js';
import { type BridgeOptions, findAnswer, refuse, requestOf } from './conversation.js';

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
 * who read it; `detachActiveRun()` releases it. A failure is a `RUN_ERROR` with the code of a `StreamError`. Files and
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
    return this.events(input, async () => {
      const { client, ...options } = this.config;
      return client.start(requestOf(contextOf(input.messages), input.threadId, options));
    });
  }

  /** Completes at once where nothing is running. */
  protected override connect(input: Input): Events {
    const { client } = this.config;
    return this.events(input, () => findAnswer(client, (session) => session === input.threadId));
  }

  override abortRun(): void {
    this.answer?.cancel();
  }

  override clone(): RivuletAgent {
    const clone = super.clone() as RivuletAgent;
    clone.config = this.config;
    return clone;
  }

  protected events(input: Input, open: () => Promise<Answer | undefined>): Events {
    const events$ = new Observable<AgUiEvent>((subscriber) => {
      let answer: Answer | undefined;
      const read = async (): Promise<void> => {
        answer = await open();
        if (subscriber.closed || answer === undefined) {
          answer?.release();
          return subscriber.complete();
        }
        this.answer = answer;
        for await (const event of eventsOf(answer, input)) subscriber.next(event);
        subscriber.complete();
      };
      read().catch((error: unknown) => subscriber.error(error));
      return () => answer?.release();
    });
    return events$ as unknown as Events;
  }
}

/** Each text is a message. Where the text begins again, a snapshot of the messages removes what is void. */
async function* eventsOf(answer: Answer, input: Input): AsyncGenerator<AgUiEvent> {
  const earlier = input.messages.filter(({ id }) => !id.startsWith(`${answer.id}:`));
  const events = agUiEvents(answer, input, {
    messageId: (attempt, part) => `${answer.id}:${attempt}.${part}`,
    finished: () => ({}),
    restart: ({ start, tools }, messageId) => [
      snapshotOf([...earlier, ...toolMessages(tools, messageId)]),
      { type: 'CUSTOM', name: 'rivulet-restart', value: { reason: start.reason } },
    ],
  });
  for await (const event of events) {
    yield event;
    // The app kept a part of the answer, which comes again from its beginning.
    const isRepeated = earlier.length < input.messages.length;
    if (event.type === 'RUN_STARTED' && isRepeated) yield snapshotOf(earlier);
  }
}

const snapshotOf = (messages: readonly Message[]): AgUiEvent => ({
  type: 'MESSAGES_SNAPSHOT',
  messages,
});

function toolMessages(
  tools: readonly (ToolCallEvent | ToolResultEvent)[],
  messageId: string,
): Message[] {
  const toolCalls = tools.flatMap((event) => {
    if (event.type === 'tool_result') return [];
    const { callId: id, name, arguments: args } = event;
    return [{ id, type: 'function' as const, function: { name, arguments: JSON.stringify(args) } }];
  });
  if (toolCalls.length === 0) return [];
  const results = tools.flatMap((event): Message[] => {
    if (event.type === 'tool_call') return [];
    const id = resultIdOf(event, messageId);
    return [{ id, role: 'tool', toolCallId: event.callId, ...resultOf(event) }];
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
