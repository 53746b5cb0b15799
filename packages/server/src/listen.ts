import type { Server } from 'node:http';
import { ConfigError } from './config.js';

/** Resolves with the URL once connections are accepted; rejects with a `ConfigError` when it cannot. */
export function listen(http: Server, host: string, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException): void => reject(explain(error, host, port));
    http.once('error', fail);
    http.listen(port, host, () => {
      http.off('error', fail);
      const address = http.address();
      const bound = typeof address === 'object' && address !== null ? address.port : port;
      const everywhere = host === '0.0.0.0' || host === '::' || host === '127.0.0.1';
      resolve(
        `http://${everywhere ? 'localhost' : host.includes(':') ? `[${host}]` : host}:${bound}`,
      );
    });
  });
}
function explain(error: NodeJS.ErrnoException, host: string, port: number): Error {
  switch (error.code) {
    case 'EADDRINUSE':
    case 'EACCES': {
      const why = error.code === 'EACCES' ? 'this user may not listen on' : 'another process has';
      const message = `PORT is ${port}, which ${why}; it may be any other, or 0 for a free one`;
      return new ConfigError(message, { cause: error });
    }
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EADDRNOTAVAIL': {
      const message = `HOST is ${JSON.stringify(host)}; it may be an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all`;
      return new ConfigError(message, { cause: error });
    }
    default:
      return error;
  }
}

/** Whether `listen` was refused because another process has the port. */
export function isPortTaken(error: unknown): boolean {
  const cause = error instanceof ConfigError ? error.cause : undefined;
  return cause instanceof Error && 'code' in cause && cause.code === 'EADDRINUSE';
}
