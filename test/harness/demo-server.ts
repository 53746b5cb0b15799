import type { RequestListener } from 'node:http';
import {
  createLogger,
  createServer,
  type Provider,
  type RivuletServer,
  type ServerOptions,
} from '@rivulet/server';
import { openBuiltPages } from '../../demo/built-pages.js';
import { serveDocument } from '../../demo/documents.js';
import { setSecurityHeaders } from '../../demo/headers.js';
import { providersOf } from './providers.js';

export interface DemoServer extends RivuletServer {
  readonly url: string;
}

/** The built demo page, and a server whose model is `provider`, on a free port of loopback. */
export async function serveDemo(
  provider: Provider,
  { env = {}, port = 0, ...options }: ServerOptions = {},
): Promise<DemoServer> {
  const server = await createServer({
    port,
    env,
    logger: createLogger('silent'),
    providers: providersOf(provider),
    page: await demoPage(),
    ...options,
  });
  return { ...server, url: await server.listen() };
}

async function demoPage(): Promise<RequestListener> {
  const serve = await openBuiltPages({ hasLab: false });
  return (request, response) => {
    setSecurityHeaders(request, response);
    if (!serveDocument(request, response)) serve(request, response);
  };
}
