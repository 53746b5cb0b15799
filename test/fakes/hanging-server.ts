import { request as ask } from 'node:http';
import { createLogger, createServer, mockProvider } from '@rivulet/server';
import { PATIENT } from '../harness/providers.js';

/** A server whose model says the beginning of an answer and nothing more. Its pages are those of the URL `PAGES`. */
const server = await createServer({
  env: {},
  port: 0,
  logger: createLogger('silent'),
  providers: [
    {
      provider: mockProvider(() => [{ text: 'Where a ' }, { text: 'river ' }, { stall: true }]),
      deadlines: PATIENT,
    },
  ],
  page(request, response) {
    ask(new URL(request.url ?? '/', process.env['PAGES']), (page) => {
      response.writeHead(page.statusCode ?? 502, page.headers);
      page.pipe(response);
    }).end();
  },
});
console.log(`hanging at ${await server.listen()}`);
