import { createLogger, createServer, mockProvider, questionOf } from '@rivulet/server';
import { answer } from './script.js';

// A server without a limit of its own, in a process with a small heap. `/memory` tells what it uses,
// `/memory?gc` after a collection. GEMINI_BASE_URL puts Gemini in the place of the mock.

/** An attack that lasts longer than a deadline would open the provider's circuit breaker. */
const deadlines = { firstChunkMs: 600_000, stallMs: 600_000, totalMs: 600_000 };
const usesGemini = process.env['GEMINI_BASE_URL'] !== undefined;
const provider = mockProvider((prompt) => answer(questionOf(prompt)));

const server = await createServer({
  port: 0,
  logger: createLogger('silent'),
  ...(!usesGemini && { env: {}, providers: [{ provider, deadlines }] }),
  page(request, response) {
    if (request.url === '/memory?gc') for (let i = 0; i < 4; i++) globalThis.gc?.();
    response.end(JSON.stringify(process.memoryUsage()));
  },
});
console.log(`listening at ${await server.listen()}`);
process.once('SIGTERM', () => process.exit());
