import type { ChatMessage } from '@rivulet/client/chat';
import type { ChatActions } from '@rivulet/client/react';
import { memo, type ReactElement, useEffect, useState } from 'react';
import { countdown } from '../countdown.js';

/** Renders only when its own message changes: the actions are always the same functions. */
export const Message = memo(View);

function View({ message, ...chat }: { message: ChatMessage } & ChatActions): ReactElement {
  const { id, version, versionCount } = message;
  const answer = message.role === 'assistant' ? message : undefined;
  const { error, retryAt } = answer?.answer ?? {};
  const status = message.role === 'user' ? message.status : message.answer.status;
  const [seconds, setSeconds] = useState(0);
  useEffect(() => countdown(retryAt, setSeconds), [retryAt]);
  const edit = () => void chat.edit(id, prompt('Question', message.text) ?? '');
  return (
    <article data-role={message.role} data-status={answer?.ending ?? status}>
      <p>{message.text}</p>
      {error && <p role="alert">{error.message}</p>}
      {versionCount > 1 && (
        <nav>
          <button onClick={() => chat.selectVersion(id, version - 1)}>Previous</button>
          {version + 1} / {versionCount}
          <button onClick={() => chat.selectVersion(id, version + 1)}>Next</button>
        </nav>
      )}
      {!answer && <button onClick={edit}>Edit</button>}
      {answer?.ending && <button onClick={() => void chat.regenerate(id)}>Regenerate</button>}
      {answer?.canContinue && <button onClick={() => void chat.continue(id)}>Continue</button>}
      {error && <button onClick={() => void chat.retry(id)}>Retry</button>}
      {seconds > 0 && ` in ${seconds} s`}
    </article>
  );
}
