import { createClient } from '@rivulet/client';
import { createConnection, shownMessages } from '@rivulet/client/tanstack-ai';
import { toolDefinition } from '@tanstack/ai/client';
import { localStoragePersistence, type UIMessage, useChat } from '@tanstack/ai-react';
import type { ReactElement } from 'react';
import { Approval } from '../approval.js';
import { language } from '../language.js';
import { Question } from '../question.js';

const connection = createConnection(createClient(), { options: { thoughts: true } });
const persistence = localStoragePersistence();
const threadId = new URLSearchParams(location.search).get('chat') ?? 'example';
const tools = [
  toolDefinition({
    name: language.name,
    description: language.description,
    inputSchema: language.parameters.jsonSchema,
  }).client(() => navigator.language),
];

export function Chat(): ReactElement {
  const { messages, isLoading, error, ...chat } = useChat({
    threadId,
    connection,
    persistence,
    tools,
  });
  return (
    <section aria-busy={isLoading}>
      {shownMessages(messages).map((message) => (
        <article key={message.id} data-role={message.role} title={message.metadata?.rivulet?.model}>
          {message.parts.map((part, at) => (
            <Part
              key={at}
              part={part}
              decide={(approvalId, approved) =>
                void chat.addToolApprovalResponse({ id: approvalId, approved })
              }
            />
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

interface PartProps {
  part: UIMessage['parts'][number];
  decide: (approvalId: string, approved: boolean) => void;
}

function Part({ part, decide }: PartProps): ReactElement | null {
  if (part.type === 'text') return <p>{part.content}</p>;
  if (part.type === 'thinking') return <small>{part.content}</small>;
  if (part.type !== 'tool-call') return null;
  const { name, arguments: args, output, state, approval } = part;
  return (
    <>
      <code>{`${name} ${args}: ${JSON.stringify(output) ?? state}`}</code>
      {state === 'approval-requested' && approval && (
        <Approval decide={(approved) => decide(approval.id, approved)} />
      )}
    </>
  );
}
