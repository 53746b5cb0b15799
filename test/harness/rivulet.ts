import {
  type Config,
  createLogger,
  createServer,
  type Provider,
  readConfig,
  type RivuletServer,
  type ServerOptions,
} from '@rivulet/server';
import { onTestFinished } from 'vitest';
import { providersOf } from './providers.js';

export interface TestServer extends RivuletServer {
  readonly url: string;
}

/** A server on a free port of loopback, closed when the test ends. */
export async function startServer(
  provider: Provider,
  {
    env = {},
    port = 0,
    ...options
  }: Partial<ServerOptions> & { env?: Record<string, string>; port?: number } = {},
): Promise<TestServer> {
  const config: Config = readConfig({ HOST: '127.0.0.1', ...env });
  const logger = createLogger('silent');
  const server = await createServer({
    config,
    logger,
    providers: providersOf(provider),
    ...options,
  });
  const url = await server.listen(port);
  onTestFinished(() => server.close());
  return { ...server, url };
}
