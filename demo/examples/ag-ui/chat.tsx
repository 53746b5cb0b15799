import type { Message } from '@ag-ui/client';
import { createClient } from '@rivulet/client';
import { RivuletAgent } from '@rivulet/client/ag-ui';
import { type ReactElement, useEffect, useReducer } from 'react';
import { Approval } from '../approval.js';
import { language } from '../language.js';
import { Question } from '../question.js';

const threadId = new URLSearchParams(location.search).get('chat') ?? 'example';
const key = `ag-ui:${threadId}`;
const agent = new RivuletAgent({
  client: createClient(),
  options: { thoughts: true },
  threadId,
  initialMessages: JSON.parse(localStorage.getItem(key) ?? '[]') as Message[],
});

let isRunning = false;
let error = '';
let show = (): void => {};

agent.subscribe({
  onMessagesChanged({ messages }): void {
    localStorage.setItem(key, JSON.stringify(messages));
    show();
  },
  onRunStartedEvent(): void {
    isRunning = true;
    show();
  },
  onRunErrorEvent({ event }): void {
    error = event.message;
  },
  onRunFinalized(): void {
    isRunning = false;
    show();
  },
});
const tools = [{ ...language, parameters: language.parameters.jsonSchema }];
void agent.connectAgent({ tools }).then(answerCalls);

/** Answers the calls that the run left to the page. */
async function answerCalls(): Promise<void> {
  const { messages, pendingInterrupts } = agent;
  const done = new Set(messages.map((message) => message.role === 'tool' && message.toolCallId));
  const calls = messages.flatMap((message) =>
    message.role === 'assistant' ? (message.toolCalls ?? []) : [],
  );
  const open = calls.filter(
    ({ id, function: { name } }) => name === language.name && !done.has(id),
  );
  if (open.length === 0 || pendingInterrupts.length > 0) return;
  for (const { id: toolCallId } of open) {
    const content = JSON.stringify(navigator.language);
    agent.addMessage({ id: crypto.randomUUID(), role: 'tool', toolCallId, content });
  }
  await agent.runAgent({ tools });
  await answerCalls();
}

async function decide(interruptId: string, approved: boolean): Promise<void> {
  await agent.runAgent({
    tools,
    resume: [{ interruptId, status: 'resolved', payload: { approved } }],
  });
  await answerCalls();
}

function stop(): void {
  agent.abortRun();
  show();
}

function ask(content: string): void {
  error = '';
  if (agent.pendingInterrupts.length > 0) stop();
  agent.addMessage({ id: crypto.randomUUID(), role: 'user', content });
  void agent.runAgent({ tools }).then(answerCalls);
}

export function Chat(): ReactElement {
  const [, render] = useReducer((count: number) => count + 1, 0);
  useEffect(() => {
    show = render;
    return () => void (show = () => {});
  }, []);
  return (
    <section aria-busy={isRunning}>
      {agent.messages.map((message) => (
        <article key={message.id} data-role={message.role}>
          {message.role === 'reasoning' && <small>{textOf(message)}</small>}
          {message.role === 'tool' && <code>{textOf(message)}</code>}
          {message.role === 'assistant' &&
            message.toolCalls?.map((call) => (
              <code key={call.id}>{`${call.function.name} ${call.function.arguments}`}</code>
            ))}
          {(message.role === 'assistant' || message.role === 'user') && <p>{textOf(message)}</p>}
        </article>
      ))}
      {agent.pendingInterrupts.map(({ id }) => (
        <Approval key={id} decide={(approved) => void decide(id, approved)} />
      ))}
      {error && <p role="alert">{error}</p>}
      <Question ask={ask} stop={stop} />
    </section>
  );
}

function textOf({ content }: Message): string {
  return typeof content === 'string' ? content : '';
}
