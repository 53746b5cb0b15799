import type { IncomingMessage } from 'node:http';
import type { SocketLimits } from '../settings/settings.js';
import { type Address, Addresses } from './addresses.js';
import { Authentications } from './authentications.js';
import { type ConnectionAccount, openAccount } from './connection-account.js';
import { type Connection, terminate } from './connection.js';
import { overloaded } from './errors.js';
import type { Refusals } from './refusals.js';
import { TokenBucket } from './token-bucket.js';

export type ConnectionLimits = Pick<
  SocketLimits,
  | 'maxConnections'
  | 'maxConnectionsPerAddress'
  | 'maxConnectionsPerPrincipal'
  | 'maxHandshakesPerAddress'
  | 'maxMessagesPerSecond'
  | 'maxBytesPerSecond'
>;

export interface ConnectionLimiterOptions {
  limits: ConnectionLimits;
  addressOf: (request: IncomingMessage) => string;
  /**
   * The namespace of Rivulet on an application's own Socket.IO server. Only packets of this namespace count,
   * and only this namespace is closed above a limit. Undefined if Rivulet owns the connections.
   */
  namespace: string | undefined;
  refusals: Refusals;
}

/** The current counts. */
export interface ConnectionCounts {
  /** The number of admitted connections. */
  connections: number;
  /** The number of connections that were not admitted yet. */
  handshakes: number;
  principals: number;
  addresses: number;
  /** The number of addresses whose credentials are being checked. */
  authenticating: number;
}

/**
 * Counts and limits the load of clients, for each connection and each address: connections and handshakes,
 * checks of credentials, messages and bytes, waiting requests, and unread replies.
 */
export interface ConnectionLimiter {
  /** False on an application's own Socket.IO server. */
  readonly ownsConnections: boolean;
  readonly size: ConnectionCounts;
  /** Counts a handshake of a connection. @returns false if there are too many. */
  reserve(request: IncomingMessage): boolean;
  /** @returns the account of a connection. The first call opens it. It ends with the connection. */
  accountOf(connection: Connection): ConnectionAccount;
}

/** The counters that all accounts share. */
export interface SharedAccounting extends ConnectionLimiterOptions {
  readonly addresses: Addresses;
  readonly authentications: Authentications;
  bucket(perSecond: number): TokenBucket;
  count(address: Address, what: 'handshakes' | 'connections', by: 1 | -1): void;
  /** The connection has requested its namespace, or closed. It is no longer idle. */
  endIdle(address: Address, connection: Connection): void;
  /** @throws {StreamError} overloaded. */
  admit(principal: string): void;
  leave(principal: string): void;
}

/** A client may use the budget of this many seconds at once. */
const BURST_SECONDS = 5;
/** One address may send as much as this many connections. */
const ADDRESS_FACTOR = 20;
/** The limit of handshakes of all addresses, as a share of the connections. */
const HANDSHAKE_SHARE = 1 / 8;

export function createConnectionLimiter(options: ConnectionLimiterOptions): ConnectionLimiter {
  const { limits, addressOf, namespace } = options;
  const { maxHandshakesPerAddress } = limits;
  const maxHandshakes = Math.max(
    maxHandshakesPerAddress,
    Math.floor(limits.maxConnections * HANDSHAKE_SHARE),
  );
  const addresses = new Addresses(() => ({
    evictions: new TokenBucket(maxHandshakesPerAddress, maxHandshakesPerAddress),
    messages: bucket(limits.maxMessagesPerSecond * ADDRESS_FACTOR),
    bytes: bucket(limits.maxBytesPerSecond * ADDRESS_FACTOR),
  }));
  const authentications = new Authentications(maxHandshakesPerAddress);
  const principals = new Map<string, number>();
  const accounts = new WeakMap<Connection, ConnectionAccount>();
  const reservations = new Map<IncomingMessage, Address>();
  /** The connections that have not requested the namespace yet, oldest first. */
  const idle = new Set<Connection>();
  let admitted = 0;
  const totals = { handshakes: 0, connections: 0 };

  function bucket(perSecond: number): TokenBucket {
    return new TokenBucket(perSecond, perSecond * BURST_SECONDS);
  }

  const counts: SharedAccounting = {
    ...options,
    addresses,
    authentications,
    bucket,
    count(address, what, by) {
      address[what] += by;
      totals[what] += by;
    },
    endIdle(address, connection) {
      idle.delete(connection);
      address.idle.delete(connection);
    },
    admit(principal) {
      const own = principals.get(principal) ?? 0;
      if (admitted >= limits.maxConnections) throw overloaded('the server is at its limit');
      if (own >= limits.maxConnectionsPerPrincipal) {
        throw overloaded('you have too many; close some tabs');
      }
      admitted += 1;
      principals.set(principal, own + 1);
    },
    leave(principal) {
      admitted -= 1;
      const left = (principals.get(principal) ?? 1) - 1;
      if (left === 0) principals.delete(principal);
      else principals.set(principal, left);
    },
  };

  /** Closes the oldest idle connection for a new one. A regular client is idle only for milliseconds. */
  function makesRoom(oldestFirst: Set<Connection>): boolean {
    for (const oldest of oldestFirst) {
      terminate(oldest);
      return true;
    }
    return false;
  }

  function open(connection: Connection): ConnectionAccount {
    const { request } = connection;
    const reserved = namespace === undefined ? takeReservation(request) : undefined;
    if (reserved !== undefined) {
      idle.add(connection);
      reserved.idle.add(connection);
    }
    const account = openAccount(connection, counts, reserved);
    accounts.set(connection, account);
    return account;
  }

  function takeReservation(request: IncomingMessage): Address {
    const reserved = reservations.get(request) ?? makeReservation(request);
    reservations.delete(request);
    return reserved;
  }

  function makeReservation(request: IncomingMessage): Address {
    const address = addresses.hold(addressOf(request));
    counts.count(address, 'handshakes', 1);
    reservations.set(request, address);
    return address;
  }

  function endReservation(request: IncomingMessage): void {
    const address = reservations.get(request);
    if (address === undefined) return;
    reservations.delete(request);
    counts.count(address, 'handshakes', -1);
    addresses.release(address);
  }

  return {
    ownsConnections: namespace === undefined,
    get size() {
      return {
        ...totals,
        principals: principals.size,
        addresses: addresses.size,
        authenticating: authentications.size,
      };
    },
    reserve(request) {
      const address = makeReservation(request);
      const hasRoom =
        (address.handshakes <= maxHandshakesPerAddress ||
          (address.evictions.tryTake(1) && makesRoom(address.idle))) &&
        (totals.handshakes <= maxHandshakes || makesRoom(idle));
      if (!hasRoom) endReservation(request);
      // Engine.IO opens the connection before this callback, or never.
      else setImmediate(endReservation, request);
      return hasRoom;
    },
    accountOf: (connection) => accounts.get(connection) ?? open(connection),
  };
}
