import { useChat } from '@ai-sdk/react';
import {
  AssistantRuntimeProvider,
  ComposerPrimitive,
  MessagePrimitive,
  ThreadPrimitive,
  type ToolCallMessagePartProps,
} from '@assistant-ui/react';
import { useAISDKRuntime } from '@assistant-ui/react-ai-sdk';
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

type Message = UIMessage<AnswerMetadata>;

const transport = createChatTransport<Message>(createClient(), {
  options: { thoughts: true },
  tools: [language],
});
const id = new URLSearchParams(location.search).get('chat') ?? 'example';
const key = `assistant-ui:${id}`;

export function Chat(): ReactElement {
  const chat = useChat<Message>({
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
  const { messages, status, error } = chat;
  const runtime = useAISDKRuntime(chat);
  useEffect(() => localStorage.setItem(key, JSON.stringify(messages)), [messages]);
  return (
    <AssistantRuntimeProvider runtime={runtime}>
      <ThreadPrimitive.Root aria-busy={status === 'submitted' || status === 'streaming'}>
        <ThreadPrimitive.Messages components={{ UserMessage, AssistantMessage }} />
        {error && <p role="alert">{error.message}</p>}
        <ComposerPrimitive.Root>
          <ComposerPrimitive.Input aria-label="Question" />
          <ComposerPrimitive.Send>Ask</ComposerPrimitive.Send>
          {status === 'ready' ? (
            <button type="button" onClick={() => transport.stop(id)}>
              Stop
            </button>
          ) : (
            <ComposerPrimitive.Cancel>Stop</ComposerPrimitive.Cancel>
          )}
        </ComposerPrimitive.Root>
      </ThreadPrimitive.Root>
    </AssistantRuntimeProvider>
  );
}

function UserMessage(): ReactElement {
  return (
    <MessagePrimitive.Root data-role="user">
      <MessagePrimitive.Parts components={{ Text }} />
    </MessagePrimitive.Root>
  );
}

function AssistantMessage(): ReactElement {
  return (
    <MessagePrimitive.Root data-role="assistant">
      <MessagePrimitive.Parts components={{ Text, Reasoning, tools: { Fallback: Tool } }} />
    </MessagePrimitive.Root>
  );
}

const Text = ({ text }: { text: string }): ReactElement => <p>{text}</p>;
const Reasoning = ({ text }: { text: string }): ReactElement => <small>{text}</small>;

function Tool(call: ToolCallMessagePartProps): ReactElement {
  const { toolName, argsText, result, approval, respondToApproval } = call;
  return (
    <>
      <code>{`${toolName} ${argsText}: ${JSON.stringify(result)}`}</code>
      {approval && approval.approved === undefined && (
        <Approval decide={(approved) => void respondToApproval({ approved })} />
      )}
    </>
  );
}
