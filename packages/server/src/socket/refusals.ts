import type { Attributes } from '@opentelemetry/api';
import { StreamError, type WireError } from '@rivulet/protocol';
import type { DeliveryMetrics } from '../observe/delivery-metrics.js';
import type { Logger, LogFields } from '../observe/logger.js';
import { wireError } from './encode.js';
import { OriginError, type OriginRefusal } from './origin.js';

/** A line for the log; those with one `key` are summed up. */
interface Line {
  key: string;
  level: 'info' | 'warn' | 'error';
  fields: LogFields;
}

interface Window {
  /** Refusals since the last line. */
  count: number;
  /** For the next line: the newest of them. */
  newest: Line;
  timer: NodeJS.Timeout;
}

/** Anyone can cause refusals, so each reason has one line in this time. */
const WINDOW_MS = 10_000;

/** Refusals by which an operator notices nothing: the client has to change its request. */
const OF_THE_CLIENT: ReadonlySet<StreamError['code']> = new Set([
  'bad_request',
  'not_found',
  'conflict',
  'unsupported',
  'unsupported_version',
  'cancelled',
]);

/**
 * Counts the connections and requests that are refused, by their reason, and logs them: the first one of
 * a reason at once, and then one line in 10 s with their number.
 */
export class Refusals {
  readonly #refused: DeliveryMetrics['refused'];
  readonly #attributes: Attributes;
  readonly #logger: Logger;
  /** An error may be noticed where it is thrown, and again where a client is told of it. */
  readonly #counted = new WeakSet<StreamError>();
  readonly #windows = new Map<string, Window>();

  constructor(refused: DeliveryMetrics['refused'], attributes: Attributes, logger: Logger) {
    this.#refused = refused;
    this.#attributes = attributes;
    this.#logger = logger;
  }

  /** Counts what could not be carried out. @returns what the client is told. */
  refuse(cause: unknown, connectionId: string | undefined): WireError {
    const error = cause instanceof StreamError ? cause : this.#failed(cause, connectionId);
    this.count(error, connectionId);
    return wireError(error);
  }

  /** Counts an error that a client is told of in another way. An error counts once. */
  count(error: StreamError, connectionId: string | undefined): void {
    if (error instanceof OriginError) this.#add(error, 'origin', lineOfOrigin(error.refusal));
    else this.#add(error, error.code, lineOf(error.code, connectionId));
  }

  /** The application's `authenticate` threw `cause`. */
  countFailedCheck(error: StreamError, cause: unknown, connectionId: string): void {
    const fields = { event: 'AUTHENTICATE_FAILED', connectionId, err: cause };
    this.#add(error, error.code, { key: fields.event, level: 'error', fields });
  }

  /** There is no room for the handshake of a connection, of a refused origin or of any. */
  countHandshake(kind: 'origins' | 'handshakes'): void {
    this.#count(kind === 'origins' ? 'origin' : 'overloaded');
    const fields = { event: 'CONNECTION_REFUSED', reason: kind };
    this.#log({ key: `handshake:${kind}`, level: 'warn', fields });
  }

  /** Logs what has no line yet. */
  close(): void {
    for (const [key, { count, newest, timer }] of this.#windows) {
      clearTimeout(timer);
      this.#windows.delete(key);
      if (count > 0) this.#write(newest, count);
    }
  }

  #failed(cause: unknown, connectionId: string | undefined): StreamError {
    this.#logger.error({ event: 'SOCKET_MESSAGE_FAILED', connectionId, err: cause });
    return new StreamError(
      'internal',
      'unable to carry out the request: the server failed; try again',
    );
  }

  #add(error: StreamError, reason: string, line: Line): void {
    if (this.#counted.has(error)) return;
    this.#counted.add(error);
    this.#count(reason);
    this.#log(line);
  }

  #count(reason: string): void {
    this.#refused.add(1, { reason, ...this.#attributes });
  }

  #log(line: Line): void {
    const window = this.#windows.get(line.key);
    if (window !== undefined) {
      window.count += 1;
      window.newest = line;
      return;
    }
    this.#write(line, 1);
    const timer = setInterval(() => this.#sumUp(line.key), WINDOW_MS).unref();
    this.#windows.set(line.key, { count: 0, newest: line, timer });
  }

  #sumUp(key: string): void {
    const window = this.#windows.get(key);
    if (window === undefined) return;
    if (window.count > 0) this.#write(window.newest, window.count);
    else {
      clearInterval(window.timer);
      this.#windows.delete(key);
    }
    window.count = 0;
  }

  #write({ level, fields }: Line, count: number): void {
    this.#logger[level]({ ...fields, count });
  }
}

function lineOf(reason: StreamError['code'], connectionId: string | undefined): Line {
  const level = OF_THE_CLIENT.has(reason) ? 'info' : 'warn';
  const connection = connectionId !== undefined && { connectionId };
  return { key: reason, level, fields: { event: 'REQUEST_REFUSED', reason, ...connection } };
}

function lineOfOrigin({ reason, origin }: OriginRefusal): Line {
  const hint = reason === 'not_allowed' && { hint: 'to allow it, add it to ALLOWED_ORIGINS' };
  const shown = origin !== undefined && { origin };
  const fields = { event: 'ORIGIN_REFUSED', reason, ...shown, ...hint };
  return { key: `origin:${reason}`, level: 'warn', fields };
}
