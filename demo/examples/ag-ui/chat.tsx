import type { Message } from '@ag-ui/client';
import { createClient } from '@rivulet/client';
import { RivuletAgent } from '@rivulet/client/ag-ui';
import { type ReactElement, useEffect, useState } from 'react';
import { Question } from '../question.js';

const threadId = new URLSearchParams(location.search).get('chat') ?? 'example';
const key = `ag-ui:${threadId}`;
const agent = new RivuletAgent({
  client: createClient(),
  options: { thoughts: true },
  threadId,
  initialMessages: JSON.parse(localStorage.getItem(key) ?? '[]') as Message[],
});
void agent.connectAgent();

export function Chat(): ReactElement {
  const [messages, setMessages] = useState(agent.messages);
  const [isRunning, setIsRunning] = useState(false);
  const [error, setError] = useState('');
  useEffect(() => {
    const { unsubscribe } = agent.subscribe({
      onMessagesChanged({ messages: changed }): void {
        localStorage.setItem(key, JSON.stringify(changed));
        setMessages([...(changed as Message[])]);
      },
      onRunStartedEvent: () => setIsRunning(true),
      onRunFinalized: () => setIsRunning(false),
      onRunErrorEvent: ({ event }) => setError(event.message),
    });
    return unsubscribe;
  }, []);

  function ask(content: string): void {
    setError('');
    agent.addMessage({ id: crypto.randomUUID(), role: 'user', content });
    void agent.runAgent();
  }

  return (
    <section aria-busy={isRunning}>
      {messages.map((message) => (
        <article key={message.id} data-role={message.role}>
          {message.role === 'reasoning' && <small>{textOf(message)}</small>}
          {message.role === 'tool' && <code>{textOf(message)}</code>}
          {message.role === 'assistant' &&
            message.toolCalls?.map((call) => (
              <code key={call.id}>{`${call.function.name} ${call.function.arguments}`}</code>
            ))}
          {(message.role === 'assistant' || message.role === 'user') && (
            <p>{textOf(message)}</p>
          )}
        </article>
      ))}
      {error && <p role="alert">{error}</p>}
      <Question ask={ask} stop={() => agent.abortRun()} />
    </section>
  );
}

function textOf({ content }: Message): string {
  return typeof content === 'string' ? content : '';
}
