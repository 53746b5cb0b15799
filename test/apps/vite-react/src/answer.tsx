import { useAnswer } from '@rivulet/client/react';
import { client } from './rivulet';

export function Answer() {
  const { state, ask, stop } = useAnswer(client);
  return (
    <>
      <button onClick={() => ask('What is a delta?')}>Ask</button>
      <button onClick={stop}>Stop</button>
      <p>{state.text}</p>
      {state.error && <p role="alert">{state.error.message}</p>}
    </>
  );
}
