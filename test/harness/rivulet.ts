import {
  createLogger,
  createServer,
  type Provider,
  type RivuletServer,
  type ServerOptions,
} from '@rivulet/server';
import { inject, onTestFinished } from 'vitest';
import { providersOf } from './providers.js';
import { ownKeys } from './redis.js';

export interface TestServer extends RivuletServer {
  readonly url: string;
}

/** A server on a free port of loopback, closed when the test ends. */
export async function startServer(
  provider: Provider,
  { port = 0, env = {}, ...options }: ServerOptions = {},
): Promise<TestServer> {
  const server = await createServer({
    ...ownKeys(inject('redisUrl')),
    port,
    env,
    logger: createLogger('silent'),
    providers: providersOf(provider),
    ...options,
  });
  const url = await server.listen();
  onTestFinished(() => server.close());
  return { ...server, url };
}
