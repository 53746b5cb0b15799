import { createClient } from '@rivulet/client';
import { createChat } from '@rivulet/client/solid';
import { Index, type JSX } from 'solid-js';
import { Message } from './message.js';

const client = createClient();
const id = new URLSearchParams(location.search).get('chat') ?? 'example';

export function Chat(): JSX.Element {
  const chat = createChat(client, { id });

  function submit(event: SubmitEvent): void {
    event.preventDefault();
    void chat.send(chat.state().draft);
  }

  return (
    <section data-status={chat.state().status}>
      <Index each={chat.state().messages}>
        {(message) => <Message message={message()} chat={chat} />}
      </Index>
      <form onSubmit={submit}>
        <input
          aria-label="Question"
          value={chat.state().draft}
          onInput={(event) => chat.setDraft(event.currentTarget.value)}
        />
        <button>Ask</button>
        <button type="button" onClick={chat.stop}>
          Stop
        </button>
      </form>
    </section>
  );
}
