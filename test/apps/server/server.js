import { createServer, mockProvider } from '@rivulet/server';

// Writes a line for each question that reaches the model.
const provider = mockProvider(() => {
  console.log('asked');
  return [{ text: 'Where a river' }, { waitMs: 300 }, { text: ' ends.' }, { finish: 'stop' }];
});
const server = await createServer({ port: 0, providers: [{ provider }] });
console.log(await server.listen());
