import { createAnswer } from '@rivulet/client/solid';
import { client } from './rivulet';

export function Answer() {
  const { state, ask } = createAnswer(client);
  return (
    <>
      <button onClick={() => ask('What is a delta?')}>Ask</button>
      <p>{state().text}</p>
    </>
  );
}
