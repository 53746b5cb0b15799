'use client';

import { useAnswer } from '@rivulet/client/react';
import { client } from './rivulet';

export default function Answer() {
  const { state, ask } = useAnswer(client);
  return (
    <>
      <button onClick={() => ask('What is a delta?')}>Ask</button>
      <p>{state.text}</p>
    </>
  );
}
