import type { IncomingMessage } from 'node:http';
import { EVENT, StreamError } from '@rivulet/protocol';
import { RateLimiterMemory } from 'rate-limiter-flexible';
import type { Socket } from 'socket.io';
import { wireError } from './encode.js';
import { TokenBucket } from './token-bucket.js';

/** The transport's connection, which carries the namespaces of one client. */
export type Connection = Socket['conn'];

export interface LedgerLimits {
  maxConnections: number;
  maxConnectionsPerAddress: number;
  maxConnectionsPerPrincipal: number;
  maxHandshakesPerAddress: number;
  maxMessagesPerSecond: number;
  maxBytesPerSecond: number;
}

/** What one connection costs. Its methods throw a `StreamError` past a limit. */
export interface Account {
  readonly address: string;
  /** True once the connection is being closed: what it still sends is not carried out. */
  readonly isClosed: boolean;
  /** Enters the namespace, which a connection may do again once it has left it. */
  enter(): void;
  /** Runs a check of credentials. The checks at the same time, and those that fail, are bounded. */
  authenticate<T>(check: () => Promise<T>): Promise<T>;
  /** Counts the connection for its principal until `leave()`. */
  admit(principal: string, socket: Socket): void;
  /** The connection left the namespace, or was refused there. */
  leave(): void;
  /** Counts a request that waits for its turn. Call the returned function when its turn has come. */
  request(): () => void;
  /** Closes the connection if it does not read its replies. @returns false if so. */
  checkReads(): boolean;
  /** Closes the connection, once what it was sent has left; with `refusal` it is told why. */
  close(refusal?: StreamError): void;
}

/**
 * Counts what clients cost, for each connection and each address: connections and handshakes, checks
 * of credentials, messages and bytes, requests that wait, and unread replies.
 */
export interface Ledger {
  /** Counts a handshake of a connection. @returns false if there are too many. */
  reserve(request: IncomingMessage): boolean;
  /** False on a user's own Socket.IO server. */
  readonly ownsConnections: boolean;
  /** The account of a connection, which is opened by the first call and ends with the connection. */
  accountOf(connection: Connection): Account;
}

export interface LedgerOptions {
  limits: LedgerLimits;
  addressOf: (request: IncomingMessage) => string;
  /**
   * The namespace of Rivulet on a user's own Socket.IO server. Only its packets count, and past a limit
   * only the namespace is left. Undefined where Rivulet owns the connections.
   */
  namespace: string | undefined;
}

/** The budget of this many seconds may be used at once. */
const BURST_SECONDS = 5;
/** One address may send as much as this many connections. */
const ADDRESS_FACTOR = 20;
/** A connection that used less of its own budget is not closed for what its neighbours send. */
const HEAVY_SHARE = 0.1;
const MAX_WAITING_REQUESTS = 256;
const MAX_UNREAD_MESSAGES = 256;
const MAX_UNREAD_UNITS = 1_048_576;
const MAX_AUTHENTICATIONS_PER_ADDRESS = 32;
const MAX_AUTHENTICATIONS = 512;
const FAILED_AUTHENTICATIONS = { points: 30, duration: 60 };
const RETRY_MS = 2_000;
/** How long a connection that is being closed may take to read what it was sent. */
const CLOSING_MS = 1_000;
/** The packet type of Socket.IO with which a client enters a namespace. */
const CONNECT = '0';
/** Engine.IO's `message`, and Socket.IO's `CONNECT_ERROR` in the namespace `/`. */
const CONNECT_ERROR = '4';

/** One address, for as long as anything of it is counted. */
interface Address {
  readonly name: string;
  /** Connections that have not entered the namespace yet. */
  handshakes: number;
  /** Connections that have, or that Rivulet does not own. */
  connections: number;
  authentications: number;
  readonly messages: TokenBucket;
  readonly bytes: TokenBucket;
}

export function createLedger({ limits, addressOf, namespace }: LedgerOptions): Ledger {
  const addresses = new Map<string, Address>();
  const connectionsOf = new Map<string, number>();
  const accounts = new WeakMap<Connection, Account>();
  const reservations = new WeakMap<IncomingMessage, Address>();
  /** Accounts of connections that have not entered the namespace yet, the oldest first. */
  const handshakes = new Set<Account>();
  const maxHandshakes = Math.max(1, Math.floor(limits.maxConnections / 8));
  const failures = new RateLimiterMemory(FAILED_AUTHENTICATIONS);
  let admitted = 0;
  let authentications = 0;

  function bucket(perSecond: number, factor = 1): TokenBucket {
    return new TokenBucket(perSecond * factor, perSecond * factor * BURST_SECONDS);
  }

  function addressNamed(name: string): Address {
    const known = addresses.get(name);
    if (known !== undefined) return known;
    const address: Address = {
      name,
      handshakes: 0,
      connections: 0,
      authentications: 0,
      messages: bucket(limits.maxMessagesPerSecond, ADDRESS_FACTOR),
      bytes: bucket(limits.maxBytesPerSecond, ADDRESS_FACTOR),
    };
    addresses.set(name, address);
    return address;
  }

  function change(address: Address, what: 'handshakes' | 'connections', by: 1 | -1): void {
    address[what] += by;
    if (address.handshakes === 0 && address.connections === 0) addresses.delete(address.name);
  }

  /** The oldest handshakes make room: a client that means to connect takes milliseconds. */
  function makeRoomForHandshake(): void {
    for (const oldest of handshakes) {
      if (handshakes.size < maxHandshakes) return;
      oldest.close();
      handshakes.delete(oldest);
    }
  }

  function open(connection: Connection): Account {
    const { request } = connection;
    const reservation = reservations.get(request);
    const address = reservation ?? addressNamed(addressOf(request));
    const messages = bucket(limits.maxMessagesPerSecond);
    const bytes = bucket(limits.maxBytesPerSecond);
    let counted: 'handshakes' | 'connections' = reservation ? 'handshakes' : 'connections';
    let isClosed = false;
    let isInside = false;
    let connects = 0;
    let waiting = 0;
    let admission: { principal: string; socket: Socket } | undefined;

    function destroy(): void {
      connection.close(true);
      request.socket.destroy();
    }

    function isOurs(data: string): boolean {
      if (namespace === undefined) return true;
      // The packet's type comes first; a namespace other than `/` ends with a comma.
      return namespace === '/' ? data[1] !== '/' : data.startsWith(`${namespace},`, 1);
    }

    function isHeavy(): boolean {
      return messages.usedShare() > HEAVY_SHARE || bytes.usedShare() > HEAVY_SHARE;
    }

    /** Runs before Socket.IO reads the packet; one payload of polling may have 20,000. */
    function received({ data = '' }: { data?: unknown }): void {
      if (isClosed || (typeof data === 'string' && !isOurs(data))) return;
      const size = typeof data === 'string' ? data.length : 0;
      const isWithin = [messages.take(1), bytes.take(size)].every(Boolean);
      const isAddressWithin = [address.messages.take(1), address.bytes.take(size)].every(Boolean);
      if (!isWithin || (!isAddressWithin && isHeavy())) {
        account.close(rateLimited('it sent too much in a short time', RETRY_MS));
      } else if (namespace === undefined && typeof data === 'string' && data[0] === CONNECT) {
        connects += 1;
        if (connects > 1) account.close(badRequest('a connection enters one namespace, once'));
      }
    }

    function tell(refusal: StreamError): void {
      const error = wireError(refusal);
      if (admission?.socket.connected === true) {
        admission.socket.emit(EVENT.error, { type: EVENT.error, ...error });
      } else if (namespace === undefined) {
        const body = { message: error.message, data: error };
        connection.write(`${CONNECT_ERROR}${JSON.stringify(body)}`);
      }
    }

    const account: Account = {
      address: address.name,
      get isClosed() {
        return isClosed;
      },
      enter() {
        if (isClosed) throw overloaded('the connection is being closed');
        if (isInside) throw badRequest('it is in the namespace already');
        const others = address.connections - (counted === 'connections' ? 1 : 0);
        if (others >= limits.maxConnectionsPerAddress) {
          throw overloaded('your network has too many connections');
        }
        isInside = true;
      },
      async authenticate(check) {
        const failed = await failures.get(address.name);
        if (failed !== null && failed.consumedPoints >= FAILED_AUTHENTICATIONS.points) {
          throw rateLimited('too many tokens were refused', failed.msBeforeNext);
        }
        const isFull =
          authentications >= MAX_AUTHENTICATIONS ||
          address.authentications >= MAX_AUTHENTICATIONS_PER_ADDRESS;
        if (isFull) throw overloaded('too many tokens are being checked');
        authentications += 1;
        address.authentications += 1;
        try {
          return await check();
        } catch (cause) {
          const isRefused = cause instanceof StreamError && cause.code === 'unauthorized';
          if (isRefused) await failures.penalty(address.name);
          throw cause;
        } finally {
          authentications -= 1;
          address.authentications -= 1;
        }
      },
      admit(principal, socket) {
        const own = connectionsOf.get(principal) ?? 0;
        if (admitted >= limits.maxConnections) throw overloaded('the server is at its limit');
        if (own >= limits.maxConnectionsPerPrincipal) {
          throw overloaded('you have too many; close some tabs');
        }
        admitted += 1;
        connectionsOf.set(principal, own + 1);
        admission = { principal, socket };
        if (counted === 'connections') return;
        handshakes.delete(account);
        change(address, 'connections', 1);
        change(address, 'handshakes', -1);
        counted = 'connections';
      },
      leave() {
        isInside = false;
        if (admission === undefined) return;
        const { principal } = admission;
        admission = undefined;
        admitted -= 1;
        const left = (connectionsOf.get(principal) ?? 1) - 1;
        if (left === 0) connectionsOf.delete(principal);
        else connectionsOf.set(principal, left);
      },
      request() {
        if (waiting >= MAX_WAITING_REQUESTS) {
          const refusal = rateLimited('too many of its requests wait for their turn', RETRY_MS);
          account.close(refusal);
          throw refusal;
        }
        waiting += 1;
        return () => {
          waiting -= 1;
        };
      },
      checkReads() {
        const unread = connection['writeBuffer'];
        let units = 0;
        for (const { data } of unread) units += typeof data === 'string' ? data.length : 0;
        if (unread.length <= MAX_UNREAD_MESSAGES && units <= MAX_UNREAD_UNITS) return true;
        isClosed = true;
        // An orderly close would wait for the client to read.
        if (namespace === undefined) destroy();
        else admission?.socket.disconnect();
        return false;
      },
      close(refusal) {
        if (isClosed) return;
        isClosed = true;
        if (refusal !== undefined) tell(refusal);
        if (namespace !== undefined) return void admission?.socket.disconnect();
        connection.close();
        setTimeout(destroy, CLOSING_MS).unref();
      },
    };

    accounts.set(connection, account);
    reservations.delete(request);
    if (reservation === undefined) change(address, 'connections', 1);
    else {
      makeRoomForHandshake();
      handshakes.add(account);
    }
    connection.on('packet', received);
    connection.once('close', () => {
      isClosed = true;
      handshakes.delete(account);
      account.leave();
      change(address, counted, -1);
    });
    return account;
  }

  return {
    ownsConnections: namespace === undefined,
    reserve(request) {
      const name = addressOf(request);
      const known = addresses.get(name);
      if (known !== undefined && known.handshakes >= limits.maxHandshakesPerAddress) return false;
      const address = addressNamed(name);
      change(address, 'handshakes', 1);
      reservations.set(request, address);
      // The client may leave before there is a connection, whose end would be counted.
      request.socket.once('close', () => {
        if (reservations.delete(request)) change(address, 'handshakes', -1);
      });
      return true;
    },
    accountOf: (connection) => accounts.get(connection) ?? open(connection),
  };
}

function overloaded(reason: string): StreamError {
  return new StreamError('overloaded', `unable to connect: ${reason}`, { retryAfterMs: RETRY_MS });
}

function rateLimited(reason: string, retryAfterMs: number): StreamError {
  const options = { retryAfterMs: Math.ceil(retryAfterMs) };
  return new StreamError('rate_limited', `unable to keep the connection: ${reason}`, options);
}

function badRequest(reason: string): StreamError {
  return new StreamError('bad_request', `unable to connect: ${reason}`);
}
