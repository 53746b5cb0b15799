import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { EVENT, type StreamError } from '@rivulet/protocol';
import type { Socket } from 'socket.io';
import type { Address } from './addresses.js';
import {
  type Connection,
  drop,
  namespaceOf,
  type Packet,
  sizeOf,
  terminate,
  unreadOf,
} from './connection.js';
import { wireError } from './encode.js';
import type { SharedAccounting } from './connection-limiter.js';
import { badRequest, overloaded, rateLimited } from './errors.js';
import { TokenBucket } from './token-bucket.js';

/** The counters and budgets of one connection. */
export interface ConnectionAccount {
  /** Identifies the connection in log lines. It is random, and not a secret. */
  readonly connectionId: string;
  readonly address: { readonly name: string };
  /**
   * Opens the account of a socket in Rivulet's namespace. A connection has one such socket at a time.
   *
   * @throws {StreamError} the reason why the socket may not enter.
   */
  enter(socket: Socket): SocketAccount;
  /** Closes a connection that Rivulet owns, after its pending messages were sent. */
  close(): void;
}

/** The counters of one socket in the namespace. The methods throw a `StreamError` above a limit. */
export interface SocketAccount {
  readonly connectionId: string;
  readonly address: string;
  /** False if the socket has exceeded a limit. Its later requests are not carried out. */
  readonly isWithinLimits: boolean;
  /** Runs a check of credentials. Concurrent and failed checks are limited. */
  authenticate<T>(check: () => Promise<T>): Promise<T>;
  /** Counts the connection for its principal until `leave()`. */
  admit(principal: string): void;
  /** Closes the account, because the socket was refused or has left the namespace. */
  leave(): void;
  /** Counts a request that waits for earlier ones, until `endWaiting()`. */
  beginWaiting(): void;
  endWaiting(): void;
  /** Ends the socket if its client does not read its replies. @returns false if it was ended. */
  checkReads(): boolean;
}

/**
 * A connection below this share of its own budget is not closed for the traffic of other connections from its
 * address.
 */
const HEAVY_SHARE = 0.1;
const MAX_WAITING_REQUESTS = 256;
const MAX_UNREAD_MESSAGES = 256;
const MAX_UNREAD_UNITS = 1_048_576;
/**
 * The budget for entering the namespace again, once a second on average, on a connection that Rivulet does
 * not own.
 */
const CONNECTS = { perSecond: 1, burst: 10 };
/** Milliseconds that a closing connection has to read the last messages. */
const CLOSING_MS = 1_000;
/** The packet type of Socket.IO with which a client enters a namespace. */
const CONNECT = '0';
const CONNECT_ERROR = '4';
/** The packet types of Socket.IO with attachments. */
const BINARY: ReadonlySet<string> = new Set(['5', '6']);

/**
 * Opens the account of a connection. @param reserved undefined for a connection that Rivulet does not own.
 */
export function openAccount(
  connection: Connection,
  counts: SharedAccounting,
  reserved: Address | undefined,
): ConnectionAccount {
  return new Account(connection, counts, reserved);
}

class Account implements ConnectionAccount {
  readonly connectionId: string = randomUUID();
  readonly connection: Connection;
  readonly counts: SharedAccounting;
  current: NamespaceSocket | undefined;
  isClosing = false;
  /** True if the connection is being closed because it exceeded a limit. */
  isCutOff = false;
  isGone = false;
  readonly #messages: TokenBucket;
  readonly #bytes: TokenBucket;
  #connects: TokenBucket | undefined;
  #address: Address | undefined;
  #counted: 'handshakes' | 'connections' | undefined;
  #hasConnected = false;
  /** True if the next attachments belong to Rivulet's namespace. */
  #isOurs: boolean;

  constructor(connection: Connection, counts: SharedAccounting, reserved: Address | undefined) {
    const { limits } = counts;
    this.connection = connection;
    this.counts = counts;
    this.#messages = counts.bucket(limits.maxMessagesPerSecond);
    this.#bytes = counts.bucket(limits.maxBytesPerSecond);
    this.#address = reserved;
    this.#counted = reserved && 'handshakes';
    this.#isOurs = this.ownsConnection;
    connection.on('packet', (packet: Packet) => this.#receive(packet));
    connection.once('close', () => this.#end());
  }

  get ownsConnection(): boolean {
    return this.counts.namespace === undefined;
  }

  get address(): Address {
    this.#address ??= this.counts.addresses.hold(this.#addressName());
    return this.#address;
  }

  enter(socket: Socket): SocketAccount {
    const { limits } = this.counts;
    if (this.isGone || this.isClosing) throw overloaded('the connection is being closed');
    if (this.current?.mayBeRefused === true) this.current.leave();
    if (this.current !== undefined) throw badRequest('it is in the namespace already');
    const { connections, handshakes } = this.address;
    if (connections >= limits.maxConnectionsPerAddress) throw crowded();
    if (!this.ownsConnection) {
      if (handshakes >= limits.maxHandshakesPerAddress) throw crowded();
      this.count('handshakes');
    }
    this.current = new NamespaceSocket(this, socket);
    return this.current;
  }

  close(refusal?: StreamError): void {
    if (this.isClosing) return;
    this.isClosing = true;
    if (refusal !== undefined) {
      this.isCutOff = true;
      this.counts.refusals.count(refusal, this.connectionId, this.address.name);
      this.#refuse(refusal);
    }
    // Socket.IO sends the refusal of a middleware in the next tick.
    setImmediate(() => this.connection.close());
    setTimeout(terminate, CLOSING_MS, this.connection).unref();
  }

  /** Counts the connection for its address. */
  count(as: 'handshakes' | 'connections' | undefined): void {
    if (this.#counted !== undefined) this.counts.count(this.address, this.#counted, -1);
    if (as !== undefined) this.counts.count(this.address, as, 1);
    this.#counted = as;
  }

  #end(): void {
    this.isGone = true;
    this.current?.leave();
    const address = this.#address;
    if (address === undefined) return;
    this.counts.endIdle(address, this.connection);
    this.count(undefined);
    this.counts.addresses.release(address);
  }

  #addressName(): string {
    const { connection, counts } = this;
    // A WebTransport connection has no request, and an application's server may have removed it to save
    // memory.
    const request = connection.request as IncomingMessage | null;
    return request === null ? (connection.remoteAddress ?? 'unknown') : counts.addressOf(request);
  }

  /** Counts the bytes of a packet. @returns false above the limit. */
  #charge(size: number): boolean {
    const own = this.address;
    const [messages, bytes] = [this.#messages, this.#bytes];
    const isWithin = [messages.take(1), bytes.take(size)].every(Boolean);
    const isAddressWithin = [own.messages.take(1), own.bytes.take(size)].every(Boolean);
    const isHeavy = messages.usedShare() > HEAVY_SHARE || bytes.usedShare() > HEAVY_SHARE;
    return isWithin && (isAddressWithin || !isHeavy);
  }

  /** Called before Socket.IO reads the packet. One payload of long polling may contain 20,000 packets. */
  #receive(packet: Packet): void {
    const { type, data } = packet;
    if (this.ownsConnection) return this.#receiveHere(packet);
    if (type !== 'message') return;
    if (typeof data === 'string') this.#isOurs = namespaceOf(data) === this.counts.namespace;
    if (this.#isOurs) this.#receiveInNamespace(packet);
  }

  #receiveHere(packet: Packet): void {
    const { data } = packet;
    if (this.isClosing) return drop(packet);
    if (!this.#charge(sizeOf(data))) {
      drop(packet);
      return this.close(rateLimited('it sent too much in a short time'));
    }
    if (!isConnect(data)) return;
    this.counts.endIdle(this.address, this.connection);
    if (this.#hasConnected) {
      drop(packet);
      return this.close(badRequest('a connection enters one namespace, once'));
    }
    this.#hasConnected = true;
  }

  #receiveInNamespace(packet: Packet): void {
    const { data } = packet;
    const { current } = this;
    const isWithin = this.#charge(sizeOf(data));
    if (isBinary(data)) {
      // Rivulet's namespace accepts no attachments. Socket.IO would wait for the dropped ones.
      drop(packet);
      current?.end(badRequest('it sent a binary packet'));
    } else if (isConnect(data)) {
      this.#connects ??= new TokenBucket(CONNECTS.perSecond, CONNECTS.burst);
      if (current?.socket.connected === true) {
        drop(packet);
        current.end(badRequest('it is in the namespace already'));
      } else if (!this.#connects.take(1) || !isWithin) {
        drop(packet);
        this.#refuseConnect(rateLimited('it connected too often in a short time'));
      }
    } else if (current?.socket.connected !== true) {
      // Socket.IO would close the connection, and with it the application's own namespaces.
      drop(packet);
    } else if (!isWithin) {
      drop(packet);
      current.end(rateLimited('it sent too much in a short time'));
    }
  }

  #refuseConnect(refusal: StreamError): void {
    this.counts.refusals.count(refusal, this.connectionId, this.address.name);
    const { namespace } = this.counts;
    if (unreadOf(this.connection, namespace).packets >= MAX_UNREAD_MESSAGES) return;
    const data = wireError(refusal);
    const inNamespace = namespace === undefined || namespace === '/' ? '' : `${namespace},`;
    const body = JSON.stringify({ message: data.message, data });
    this.connection.write(`${CONNECT_ERROR}${inNamespace}${body}`);
  }

  #refuse(refusal: StreamError): void {
    if (this.current?.socket.connected === true) emitRefusal(this.current.socket, refusal);
    else this.#refuseConnect(refusal);
  }
}

/** The account of a socket that has entered the namespace, or is about to enter. */
class NamespaceSocket implements SocketAccount {
  readonly socket: Socket;
  readonly connectionId: string;
  readonly address: string;
  readonly #account: Account;
  /** Aborts when the socket leaves; undefined if its credentials are not being checked. */
  #leaving: AbortController | undefined;
  #refusal: StreamError | undefined;
  #isWithinLimits = true;
  #waiting = 0;
  #principal: string | undefined;

  constructor(account: Account, socket: Socket) {
    this.#account = account;
    this.connectionId = account.connectionId;
    this.socket = socket;
    this.address = account.address.name;
  }

  get isWithinLimits(): boolean {
    return this.#isWithinLimits && !this.#account.isCutOff;
  }

  /** True if another middleware may have refused the socket. */
  get mayBeRefused(): boolean {
    return this.#principal !== undefined && !this.socket.connected;
  }

  authenticate<T>(check: () => Promise<T>): Promise<T> {
    this.#leaving = new AbortController();
    const { authentications } = this.#account.counts;
    return authentications.run(this.address, this.#leaving.signal, check);
  }

  admit(principal: string): void {
    const account = this.#account;
    if (this.#refusal !== undefined) throw this.#refusal;
    if (account.isGone || account.isClosing || account.current !== this) {
      throw overloaded('the connection has ended');
    }
    const { connections } = account.address;
    if (connections >= account.counts.limits.maxConnectionsPerAddress) throw crowded();
    account.counts.admit(principal);
    this.#principal = principal;
    account.count('connections');
  }

  leave(): void {
    const account = this.#account;
    this.#leaving?.abort();
    if (account.current === this) {
      account.current = undefined;
      if (!account.ownsConnection) account.count(undefined);
    }
    if (this.#principal !== undefined) account.counts.leave(this.#principal);
    this.#principal = undefined;
  }

  beginWaiting(): void {
    if (this.#waiting >= MAX_WAITING_REQUESTS) {
      const tooMany = rateLimited('too many of its requests wait for their turn');
      this.end(tooMany);
      throw tooMany;
    }
    this.#waiting += 1;
  }

  endWaiting(): void {
    this.#waiting -= 1;
  }

  checkReads(): boolean {
    const { connection, counts, ownsConnection } = this.#account;
    const { packets, units } = unreadOf(connection, counts.namespace);
    if (packets <= MAX_UNREAD_MESSAGES && units <= MAX_UNREAD_UNITS) return true;
    this.#isWithinLimits = false;
    // A regular close would wait for the client to read.
    if (ownsConnection) terminate(connection);
    else this.socket.disconnect();
    return false;
  }

  /** Ends the socket and sends the reason. */
  end(reason: StreamError): void {
    if (!this.#isWithinLimits) return;
    this.#isWithinLimits = false;
    if (this.#account.ownsConnection) return this.#account.close(reason);
    this.#refusal = reason;
    this.#account.counts.refusals.count(reason, this.connectionId, this.address);
    if (!this.socket.connected) return;
    emitRefusal(this.socket, reason);
    this.socket.disconnect();
  }
}

function isConnect(data: unknown): boolean {
  return typeof data === 'string' && data[0] === CONNECT;
}

/** @returns true for a packet with attachments, and for an attachment. */
function isBinary(data: unknown): boolean {
  return typeof data !== 'string' || BINARY.has(data[0] ?? '');
}

function emitRefusal(socket: Socket, refusal: StreamError): void {
  socket.emit(EVENT.error, { type: EVENT.error, ...wireError(refusal) });
}

function crowded(): StreamError {
  return overloaded('your network has too many connections');
}
