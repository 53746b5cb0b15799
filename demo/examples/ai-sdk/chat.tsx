import { useChat } from '@ai-sdk/react';
import { createClient } from '@rivulet/client';
import { type AnswerMetadata, createChatTransport } from '@rivulet/client/ai-sdk';
import type { UIMessage } from 'ai';
import { type ReactElement, useEffect } from 'react';
import { Question } from '../question.js';

type Message = UIMessage<AnswerMetadata>;

const transport = createChatTransport<Message>(createClient(), { options: { thoughts: true } });
const id = new URLSearchParams(location.search).get('chat') ?? 'example';
const key = `ai-sdk:${id}`;

export function Chat(): ReactElement {
  const { messages, status, error, ...chat } = useChat<Message>({
    id,
    transport,
    resume: true,
    messages: JSON.parse(localStorage.getItem(key) ?? '[]') as Message[],
  });
  useEffect(() => localStorage.setItem(key, JSON.stringify(messages)), [messages]);
  return (
    <section aria-busy={status === 'submitted' || status === 'streaming'}>
      {messages.map((message) => (
        <article key={message.id} data-role={message.role} title={message.metadata?.model}>
          {validParts(message).map((part, at) => (
            <Part key={at} part={part} />
          ))}
        </article>
      ))}
      {error && <p role="alert">{error.message}</p>}
      <Question ask={(text) => void chat.sendMessage({ text })} stop={() => void chat.stop()} />
    </section>
  );
}

function Part({ part }: { part: Message['parts'][number] }): ReactElement | null {
  if (part.type === 'text') return <p>{part.text}</p>;
  if (part.type === 'reasoning') return <small>{part.text}</small>;
  if (!('toolCallId' in part)) return null;
  const { type, state, input, output, errorText } = part;
  return (
    <code>{`${type} ${JSON.stringify(input)}: ${errorText ?? JSON.stringify(output) ?? state}`}</code>
  );
}

/** Text and thoughts before a restart are void. Version 6 of the AI SDK keeps them, version 7 removes them. */
function validParts({ parts }: Message): Message['parts'] {
  const restartedAt = parts.findLastIndex(({ type }) => type === 'data-rivulet-restart');
  const isVoid = ({ type }: Message['parts'][number]) => type === 'text' || type === 'reasoning';
  return parts.filter((part, at) => at > restartedAt || !isVoid(part));
}
