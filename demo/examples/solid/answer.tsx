import { createClient } from '@rivulet/client';
import { createAnswer } from '@rivulet/client/solid';
import { createSignal, type JSX, Show } from 'solid-js';

const client = createClient();

export function Answer(): JSX.Element {
  const { state, ask, stop, retry } = createAnswer(client);
  const [question, setQuestion] = createSignal('');

  function submit(event: SubmitEvent): void {
    event.preventDefault();
    ask(question());
  }

  return (
    <>
      <form onSubmit={submit}>
        <input
          aria-label="Question"
          value={question()}
          onInput={(event) => setQuestion(event.currentTarget.value)}
        />
        <button>Ask</button>
        <button type="button" onClick={stop}>
          Stop
        </button>
        <button type="button" onClick={retry}>
          Retry
        </button>
      </form>
      <output data-status={state().status}>{state().text}</output>
      <Show when={state().error}>{(error) => <p role="alert">{error().message}</p>}</Show>
    </>
  );
}
