import { createClient } from '@rivulet/client';
import { useChat } from '@rivulet/client/react';
import type { ReactElement } from 'react';
import { Message } from './message.js';

const client = createClient();
const id = new URLSearchParams(location.search).get('chat') ?? 'example';

export function Chat(): ReactElement {
  const { state, ...actions } = useChat(client, { id });
  return (
    <section data-status={state.status}>
      {state.messages.map((message) => (
        <Message key={message.id} message={message} {...actions} />
      ))}
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void actions.send(state.draft);
        }}
      >
        <input
          aria-label="Question"
          value={state.draft}
          onChange={(event) => actions.setDraft(event.target.value)}
        />
        <button>Ask</button>
        <button type="button" onClick={actions.stop}>
          Stop
        </button>
      </form>
    </section>
  );
}
