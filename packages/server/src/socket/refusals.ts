import type { Attributes } from '@opentelemetry/api';
import { StreamError, type WireError } from '@rivulet/protocol';
import { DrainingError } from '../deliver/stream-directory.js';
import type { DeliveryMetrics } from '../observe/delivery-metrics.js';
import type { Logger, LogFields } from '../observe/logger.js';
import { wireError } from './encode.js';
import { OriginError, type OriginRefusal } from './origin.js';

/** A line for the log. Lines with the same `key` are combined. */
interface Line {
  key: string;
  level: 'info' | 'warn' | 'error';
  fields: LogFields;
}

interface Window {
  /** The refusals since the last line. */
  count: number;
  /** The newest of these refusals, for the next line. */
  newest: Line;
  timer: NodeJS.Timeout;
}

/** Milliseconds between two lines of one reason, because any client can cause refusals. */
const WINDOW_MS = 10_000;

type Reason = StreamError['code'] | 'draining';

/** Refusals because of the request itself, or of the shutdown. They need no action of the operator. */
const EXPECTED: ReadonlySet<Reason> = new Set([
  'draining',
  'bad_request',
  'not_found',
  'conflict',
  'unsupported',
  'unsupported_version',
  'cancelled',
]);

/**
 * Counts the refused connections and requests by their reason, and logs them: the first refusal of a reason
 * at once, and then one line in 10 s with their number.
 */
export class Refusals {
  readonly #refused: DeliveryMetrics['refused'];
  readonly #attributes: Attributes;
  readonly #logger: Logger;
  /** An error may be counted where it is thrown, and again where it is sent to a client. */
  readonly #counted = new WeakSet<StreamError>();
  readonly #windows = new Map<string, Window>();

  constructor(refused: DeliveryMetrics['refused'], attributes: Attributes, logger: Logger) {
    this.#refused = refused;
    this.#attributes = attributes;
    this.#logger = logger;
  }

  /**
   * Counts a failed request. The line of a `rate_limited` has the address of the client.
   *
   * @returns the error for the client.
   */
  refuse(cause: unknown, connectionId: string | undefined, address?: string): WireError {
    const error = cause instanceof StreamError ? cause : this.#failed(cause, connectionId);
    this.count(error, connectionId, address);
    return wireError(error);
  }

  /** Counts an error that is sent to a client in another way. Each error is counted once. */
  count(error: StreamError, connectionId: string | undefined, address?: string): void {
    if (error instanceof OriginError) this.#add(error, 'origin', lineOfOrigin(error.refusal));
    else {
      const reason = error instanceof DrainingError ? 'draining' : error.code;
      this.#add(error, reason, lineOf(reason, connectionId, address));
    }
  }

  /** Counts an error of the application's `authenticate`. `cause` is the value that it threw. */
  countFailedCheck(error: StreamError, cause: unknown, connectionId: string): void {
    const fields = { event: 'AUTHENTICATE_FAILED', connectionId, err: cause };
    this.#add(error, error.code, { key: fields.event, level: 'error', fields });
  }

  /** Counts a handshake above the limit for refused origins, or above that for all handshakes. */
  countHandshake(kind: 'origins' | 'handshakes'): void {
    this.#count(kind === 'origins' ? 'origin' : 'overloaded');
    const fields = { event: 'CONNECTION_REFUSED', reason: kind };
    this.#log({ key: `handshake:${kind}`, level: 'warn', fields });
  }

  /** Logs the refusals since the last lines. */
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

function lineOf(
  reason: Reason,
  connectionId: string | undefined,
  address: string | undefined,
): Line {
  const level = EXPECTED.has(reason) ? 'info' : 'warn';
  const connection = connectionId !== undefined && { connectionId };
  const limited = reason === 'rate_limited' && address !== undefined && { address };
  const fields = { event: 'REQUEST_REFUSED', reason, ...connection, ...limited };
  return { key: reason, level, fields };
}

function lineOfOrigin({ reason, origin }: OriginRefusal): Line {
  const hint = reason === 'not_allowed' && { hint: 'to allow it, add it to ALLOWED_ORIGINS' };
  const shown = origin !== undefined && { origin };
  const fields = { event: 'ORIGIN_REFUSED', reason, ...shown, ...hint };
  return { key: `origin:${reason}`, level: 'warn', fields };
}
