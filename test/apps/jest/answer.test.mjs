import { createMockClient } from '@rivulet/client/testing';

test('a failure is an error with a code', async () => {
  const client = createMockClient([
    { type: 'text', text: 'Where' },
    { type: 'error', code: 'stalled', message: 'unable to go on: the model is silent' },
  ]);
  const { result } = client.start({ query: 'What is a delta?' });
  await expect(result).rejects.toMatchObject({ code: 'stalled', partialText: 'Where' });
});
