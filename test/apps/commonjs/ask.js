const { createClient } = require('@rivulet/client');
const { createServer, mockProvider } = require('@rivulet/server');

async function ask() {
  const provider = mockProvider(() => [{ text: 'Where it ends.' }, { finish: 'stop' }]);
  const server = await createServer({ port: 0, providers: [{ provider }] });
  const client = createClient({ url: await server.listen() });
  const { text } = await client.start({ query: 'What is a delta?' }).result;
  console.log(text);
  client.close();
  await server.close();
}

ask();
