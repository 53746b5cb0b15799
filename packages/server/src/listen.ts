import type { Server } from 'node:net';
import { ConfigError } from './settings/resolve-settings.js';

/**
 * Starts listening.
 *
 * @returns the URL, once the server accepts connections.
 * @throws {ConfigError} the port is in use or not permitted, or the host is not an address of this machine.
 */
export function listen(server: Server, host: string, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException): void => reject(explain(error, host, port));
    server.once('error', fail);
    server.listen(port, host, () => {
      server.off('error', fail);
      const address = server.address();
      const bound = typeof address === 'object' && address !== null ? address.port : port;
      resolve(`http://${hostOfUrl(host)}:${bound}`);
    });
  });
}

/** A server that listens on every address has the URL of `localhost`. */
function hostOfUrl(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost';
  return host.includes(':') ? `[${host}]` : host;
}

function explain(error: NodeJS.ErrnoException, host: string, port: number): Error {
  const message = reasonOf(error.code, JSON.stringify(host), port);
  return message === undefined ? error : new ConfigError(message, { cause: error });
}

function reasonOf(code: string | undefined, host: string, port: number): string | undefined {
  switch (code) {
    case 'EADDRINUSE':
      return `port ${port} is already in use; set PORT to another port, or to 0 for any free port`;
    case 'EACCES':
      return `this user may not listen on port ${port}; set PORT to a port from 1024, or to 0 for any free port`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EADDRNOTAVAIL':
      return `HOST is ${host}; it must be an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them`;
    default:
      return undefined;
  }
}

/** @returns true if `listen` failed because the port is in use. */
export function isPortTaken(error: unknown): boolean {
  const cause = error instanceof ConfigError ? error.cause : undefined;
  return cause instanceof Error && 'code' in cause && cause.code === 'EADDRINUSE';
}
