import { createClient } from '@rivulet/client';
import { createConnection } from '@rivulet/client/tanstack-ai';
import { localStoragePersistence, type UIMessage, useChat } from '@tanstack/ai-react';
import { type ReactElement, useState } from 'react';
import { Question } from '../question.js';

const connection = createConnection(createClient(), { options: { thoughts: true } });
const persistence = localStoragePersistence();
const threadId = new URLSearchParams(location.search).get('chat') ?? 'example';

export function Chat(): ReactElement {
  /** Messages whose text began again in a later one. */
  const [replaced, setReplaced] = useState<string[]>([]);
  const { messages, isLoading, error, ...chat } = useChat({
    threadId,
    connection,
    persistence,
    onCustomEvent: (name, value) => {
      if (name !== 'rivulet-restart') return;
      const { replaced: id } = value as { replaced: string };
      setReplaced((ids) => [...ids, id]);
    },
  });
  return (
    <section aria-busy={isLoading}>
      {messages
        .filter(({ id }) => !replaced.includes(id))
        .map((message) => (
          <article
            key={message.id}
            data-role={message.role}
            title={message.metadata?.rivulet?.model}
          >
            {message.parts.map((part, at) => (
              <Part key={at} part={part} />
            ))}
          </article>
        ))}
      {error && <p role="alert">{error.message}</p>}
      <Question
        ask={(text) => void chat.sendMessage(text)}
        stop={() => {
          connection.stop(threadId);
          chat.stop();
        }}
      />
    </section>
  );
}

function Part({ part }: { part: UIMessage['parts'][number] }): ReactElement | null {
  if (part.type === 'text') return <p>{part.content}</p>;
  if (part.type === 'thinking') return <small>{part.content}</small>;
  if (part.type !== 'tool-call') return null;
  return (
    <code>{`${part.name} ${part.arguments}: ${JSON.stringify(part.output) ?? part.state}`}</code>
  );
}
