import { useChat } from '@ai-sdk/react';
import { createClient } from '@rivulet/client';
import { type AnswerMetadata, createChatTransport } from '@rivulet/client/ai-sdk';
import {
  lastAssistantMessageIsCompleteWithApprovalResponses,
  lastAssistantMessageIsCompleteWithToolCalls,
  type UIMessage,
} from 'ai';
import { type ReactElement, useEffect } from 'react';
import { Approval } from '../approval.js';
import { language } from '../language.js';
import { Question } from '../question.js';

type Message = UIMessage<AnswerMetadata>;

const transport = createChatTransport<Message>(createClient(), {
  options: { thoughts: true },
  tools: [language],
});
const id = new URLSearchParams(location.search).get('chat') ?? 'example';
const key = `ai-sdk:${id}`;

export function Chat(): ReactElement {
  const { messages, status, error, ...chat } = useChat<Message>({
    id,
    transport,
    resume: true,
    messages: JSON.parse(localStorage.getItem(key) ?? '[]') as Message[],
    onToolCall({ toolCall: { toolName, toolCallId } }) {
      if (toolName !== 'language') return;
      void chat.addToolOutput({ tool: toolName, toolCallId, output: navigator.language });
    },
    sendAutomaticallyWhen: (state) =>
      lastAssistantMessageIsCompleteWithToolCalls(state) ||
      lastAssistantMessageIsCompleteWithApprovalResponses(state),
  });
  useEffect(() => localStorage.setItem(key, JSON.stringify(messages)), [messages]);
  return (
    <section aria-busy={status === 'submitted' || status === 'streaming'}>
      {messages.map((message) => (
        <article key={message.id} data-role={message.role} title={message.metadata?.model}>
          {validParts(message).map((part, at) => (
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
        ask={(text) => void chat.sendMessage({ text })}
        stop={() => {
          transport.stop(id);
          void chat.stop();
        }}
      />
    </section>
  );
}

interface PartProps {
  part: Message['parts'][number];
  decide: (approvalId: string, approved: boolean) => void;
}

function Part({ part, decide }: PartProps): ReactElement | null {
  if (part.type === 'text') return <p>{part.text}</p>;
  if (part.type === 'reasoning') return <small>{part.text}</small>;
  if (!('toolCallId' in part)) return null;
  const { type, state, input, output, errorText } = part;
  return (
    <>
      <code>{`${type} ${JSON.stringify(input)}: ${errorText ?? JSON.stringify(output) ?? state}`}</code>
      {state === 'approval-requested' && (
        <Approval decide={(approved) => decide(part.approval.id, approved)} />
      )}
    </>
  );
}

/** Text and thoughts before a restart are void. Version 6 of the AI SDK keeps them, version 7 removes them. */
function validParts({ parts }: Message): Message['parts'] {
  const restartedAt = parts.findLastIndex(({ type }) => type === 'data-rivulet-restart');
  const isVoid = ({ type }: Message['parts'][number]) => type === 'text' || type === 'reasoning';
  return parts.filter((part, at) => at > restartedAt || !isVoid(part));
}
