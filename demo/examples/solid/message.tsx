import type { ChatMessage } from '@rivulet/client/chat';
import type { ChatActions } from '@rivulet/client/solid';
import { createEffect, createSignal, type JSX, onCleanup, Show } from 'solid-js';
import { countdown } from '../countdown.js';

export function Message(props: { message: ChatMessage; chat: ChatActions }): JSX.Element {
  const { chat } = props;
  const id = () => props.message.id;
  const answer = () => (props.message.role === 'assistant' ? props.message : undefined);
  const error = () => answer()?.answer.error;
  const [seconds, setSeconds] = createSignal(0);
  createEffect(() => onCleanup(countdown(answer()?.answer.retryAt, setSeconds)));
  const edit = () => void chat.edit(id(), prompt('Question', props.message.text) ?? '');
  const select = (step: number) => chat.selectVersion(id(), props.message.version + step);
  return (
    <article data-role={props.message.role} data-status={statusOf(props.message)}>
      <p>{props.message.text}</p>
      <Show when={error()}>{(failure) => <p role="alert">{failure().message}</p>}</Show>
      <Show when={props.message.versionCount > 1}>
        <button onClick={() => select(-1)}>Previous</button>
        {props.message.version + 1} / {props.message.versionCount}
        <button onClick={() => select(1)}>Next</button>
      </Show>
      {!answer() && <button onClick={edit}>Edit</button>}
      {answer()?.ending && <button onClick={() => void chat.regenerate(id())}>Regenerate</button>}
      {answer()?.canContinue && <button onClick={() => void chat.continue(id())}>Continue</button>}
      {error() && <button onClick={() => void chat.retry(id())}>Retry</button>}
      {seconds() > 0 && ` in ${seconds()} s`}
    </article>
  );
}

function statusOf(message: ChatMessage): string {
  return message.role === 'user' ? message.status : (message.ending ?? message.answer.status);
}
