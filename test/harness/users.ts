import { EVENT } from '@rivulet/protocol';
import type { LogFields, Logger, ServerOptions } from '@rivulet/server';
import type { Socket } from 'socket.io-client';
import { connect } from './plain-client.js';

/** The token of a user is the user's name. */
export const USERS = {
  authenticate: ({ token }) => (token === undefined ? undefined : { principal: token }),
} satisfies ServerOptions;

export function connectAs(url: string, user: string): Socket {
  return connect(url, { token: user });
}

/** Asks `q`, or what `request` says, and gives the reply. */
export function start(socket: Socket, id: string, request: object = {}) {
  return socket.emitWithAck(EVENT.start, { query: 'q', stream_id: id, ...request });
}

/** A logger that keeps what it was given. */
export function keepingLogger(): { logger: Logger; logged: LogFields[] } {
  const logged: LogFields[] = [];
  const keep = (fields: LogFields): void => void logged.push(fields);
  return { logger: { debug: keep, info: keep, warn: keep, error: keep }, logged };
}
