/** @jest-environment jsdom */
import { useAnswer } from '@rivulet/client/react';
import { createMockClient } from '@rivulet/client/testing';
import { act, createElement } from 'react';
import { createRoot } from 'react-dom/client';

globalThis.IS_REACT_ACT_ENVIRONMENT = true;

function View({ client }) {
  const { state, ask } = useAnswer(client);
  return createElement('button', { onClick: () => ask('What is a delta?') }, state.text);
}

test('a component shows an answer', async () => {
  const client = createMockClient([{ type: 'text', text: 'Where it ends.' }, { type: 'end' }]);
  const target = document.body.appendChild(document.createElement('div'));
  await act(async () => createRoot(target).render(createElement(View, { client })));
  await act(async () => {
    target.querySelector('button').click();
    await new Promise((resolve) => setTimeout(resolve, 100));
  });
  expect(target.textContent).toBe('Where it ends.');
});
