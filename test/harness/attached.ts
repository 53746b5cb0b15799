import { createServer } from 'node:http';
import {
  type AttachedRivulet,
  type AttachOptions,
  attachRivulet,
  createLlmService,
  createLogger,
  type Provider,
} from '@rivulet/server';
import { Server, type ServerOptions } from 'socket.io';
import { onTestFinished } from 'vitest';
import { providersOf } from './providers.js';

export interface AttachedServer {
  url: string;
  io: Server;
  rivulet: AttachedRivulet;
}

/** A Socket.IO server of a user's own, with Rivulet on it. */
export async function attachedServer(
  provider: Provider,
  options: AttachOptions = {},
  serverOptions: Partial<ServerOptions> = {},
): Promise<AttachedServer> {
  const http = createServer();
  const io = new Server(http, serverOptions);
  const logger = createLogger('silent');
  const llm = await createLlmService({
    env: {},
    logger,
    providers: providersOf(provider),
  });
  const rivulet = attachRivulet(io, llm, { logger, ...options });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    rivulet.close();
    await io.close();
  });
  const { port } = http.address() as { port: number };
  return { url: `http://127.0.0.1:${port}`, io, rivulet };
}
