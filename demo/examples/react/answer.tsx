import { createClient } from '@rivulet/client';
import { useAnswer } from '@rivulet/client/react';
import { type ReactElement, useState } from 'react';

const client = createClient();

export function Answer(): ReactElement {
  const { state, ask, stop, retry, reply } = useAnswer(client);
  const [question, setQuestion] = useState('');
  return (
    <>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          ask(question);
        }}
      >
        <input
          aria-label="Question"
          value={question}
          onChange={(event) => setQuestion(event.target.value)}
        />
        <button>Ask</button>
        <button type="button" onClick={stop}>
          Stop
        </button>
        <button type="button" onClick={retry}>
          Retry
        </button>
      </form>
      <output data-status={state.status}>{state.text}</output>
      {state.tools.map(
        ({ callId, name, status, awaits }) =>
          status === 'awaiting' &&
          awaits === 'approval' && (
            <p key={callId}>
              May the model run {name}?
              <button onClick={() => void reply(callId, { approved: true })}>Allow</button>
              <button onClick={() => void reply(callId, { approved: false })}>Refuse</button>
            </p>
          ),
      )}
      {state.error && <p role="alert">{state.error.message}</p>}
    </>
  );
}
