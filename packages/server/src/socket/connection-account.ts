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
import type { Counts } from './ledger.js';
import { badRequest, overloaded, rateLimited } from './refusal.js';
import { TokenBucket } from './token-bucket.js';

/** The counts and budgets of one connection. */
export interface ConnectionAccount {
  /**
   * Opens the account of a socket of Rivulet's namespace; a connection has one at a time.
   *
   * @throws {StreamError} why the socket may not enter.
   */
  enter(socket: Socket): SocketAccount;
  /** Closes a connection that Rivulet owns, once what it was sent has left. */
  close(): void;
}

/** The counts of one socket of the namespace. Its methods throw a `StreamError` past a limit. */
export interface SocketAccount {
  readonly address: string;
  /** False once the socket went past a limit: what it sent is not carried out. */
  readonly isWithinLimits: boolean;
  /** Runs a check of credentials. The checks at the same time, and those that fail, are bounded. */
  authenticate<T>(check: () => Promise<T>): Promise<T>;
  /** Counts the connection for its principal until `leave()`. */
  admit(principal: string): void;
  /** The socket was refused, or has left the namespace. */
  leave(): void;
  /** Counts a request that waits for its turn. Call the returned function when its turn has come. */
  request(): () => void;
  /** Ends the socket if its client does not read its replies. @returns false if so. */
  checkReads(): boolean;
}

/** The socket that is in the namespace, or wants to enter. */
interface Current extends SocketAccount {
  readonly socket: Socket;
  /** True if another middleware may have refused it. */
  readonly mayBeRefused: boolean;
  /** Ends it, with the reason. */
  end(refusal: StreamError): void;
}

/** A connection that used less of its own budget is not closed for what its neighbours send. */
const HEAVY_SHARE = 0.1;
const MAX_WAITING_REQUESTS = 256;
const MAX_UNREAD_MESSAGES = 256;
const MAX_UNREAD_UNITS = 1_048_576;
/** A connection that Rivulet does not own may enter the namespace again, once a second on average. */
const CONNECTS = { perSecond: 1, burst: 10 };
/** The time that a connection which is being closed has to read the last messages. */
const CLOSING_MS = 1_000;
/** The packet type of Socket.IO with which a client enters a namespace. */
const CONNECT = '0';
const CONNECT_ERROR = '4';
/** The packet types of Socket.IO with attachments. */
const BINARY: ReadonlySet<string> = new Set(['5', '6']);

/** @param reserved undefined for a connection that Rivulet does not own. */
export function openAccount(
  connection: Connection,
  counts: Counts,
  reserved: Address | undefined,
): ConnectionAccount {
  const { limits, namespace } = counts;
  const ownsConnection = namespace === undefined;
  const messages = counts.bucket(limits.maxMessagesPerSecond);
  const bytes = counts.bucket(limits.maxBytesPerSecond);
  const connects = new TokenBucket(CONNECTS.perSecond, CONNECTS.burst);
  let address = reserved;
  let counted: 'handshakes' | 'connections' | undefined = reserved && 'handshakes';
  let hasConnected = false;
  let isClosing = false;
  let isCutOff = false;
  let isGone = false;
  /** True if attachments that come next are of Rivulet's namespace. */
  let isOurs = ownsConnection;
  let current: Current | undefined;

  function addressName(): string {
    // WebTransport has no request, and a user's server may have dropped it to save memory.
    const request = connection.request as IncomingMessage | null;
    return request === null ? (connection.remoteAddress ?? 'unknown') : counts.addressOf(request);
  }

  function addressHere(): Address {
    address ??= counts.addresses.hold(addressName());
    return address;
  }

  function count(as: 'handshakes' | 'connections' | undefined): void {
    if (counted !== undefined) counts.count(addressHere(), counted, -1);
    if (as !== undefined) counts.count(addressHere(), as, 1);
    counted = as;
  }

  /** @returns false if it is too much. */
  function charge(size: number): boolean {
    const own = addressHere();
    const isWithin = [messages.take(1), bytes.take(size)].every(Boolean);
    const isAddressWithin = [own.messages.take(1), own.bytes.take(size)].every(Boolean);
    const isHeavy = messages.usedShare() > HEAVY_SHARE || bytes.usedShare() > HEAVY_SHARE;
    return isWithin && (isAddressWithin || !isHeavy);
  }

  /** Runs before Socket.IO reads the packet; one payload of polling may have 20,000. */
  function received(packet: Packet): void {
    const { type, data } = packet;
    if (ownsConnection) return receivedHere(packet);
    if (type !== 'message') return;
    if (typeof data === 'string') isOurs = namespaceOf(data) === namespace;
    if (isOurs) receivedInNamespace(packet);
  }

  function receivedHere(packet: Packet): void {
    const { data } = packet;
    if (isClosing) return drop(packet);
    if (!charge(sizeOf(data))) {
      drop(packet);
      return close(rateLimited('it sent too much in a short time'));
    }
    if (!isConnect(data)) return;
    counts.asked(addressHere(), connection);
    if (hasConnected) {
      drop(packet);
      return close(badRequest('a connection enters one namespace, once'));
    }
    hasConnected = true;
  }

  function receivedInNamespace(packet: Packet): void {
    const { data } = packet;
    const isWithin = charge(sizeOf(data));
    if (isBinary(data)) {
      // Rivulet takes none. Socket.IO would wait for the attachments that are dropped.
      drop(packet);
      current?.end(badRequest('it sent a binary packet'));
    } else if (isConnect(data)) {
      if (current?.socket.connected === true) {
        drop(packet);
        current.end(badRequest('it is in the namespace already'));
      } else if (!connects.take(1) || !isWithin) {
        drop(packet);
        refuseConnect(rateLimited('it connected too often in a short time'));
      }
    } else if (current?.socket.connected !== true) {
      // Socket.IO would close the connection, and the user's namespaces with it.
      drop(packet);
    } else if (!isWithin) {
      drop(packet);
      current.end(rateLimited('it sent too much in a short time'));
    }
  }

  function refuseConnect(refusal: StreamError): void {
    if (unreadOf(connection, namespace).packets >= MAX_UNREAD_MESSAGES) return;
    const data = wireError(refusal);
    const inNamespace = namespace === undefined || namespace === '/' ? '' : `${namespace},`;
    const body = JSON.stringify({ message: data.message, data });
    connection.write(`${CONNECT_ERROR}${inNamespace}${body}`);
  }

  function close(refusal?: StreamError): void {
    if (isClosing) return;
    isClosing = true;
    if (refusal !== undefined) {
      isCutOff = true;
      tell(refusal);
    }
    // Socket.IO sends the refusal of a middleware in the next tick.
    setImmediate(() => connection.close());
    setTimeout(terminate, CLOSING_MS, connection).unref();
  }

  function tell(refusal: StreamError): void {
    if (current?.socket.connected === true) emitRefusal(current.socket, refusal);
    else refuseConnect(refusal);
  }

  function openSocketAccount(socket: Socket): Current {
    const { name } = addressHere();
    const leaving = new AbortController();
    let refusal: StreamError | undefined;
    let isWithinLimits = true;
    let waiting = 0;
    let principal: string | undefined;

    const account: Current = {
      socket,
      address: name,
      get isWithinLimits() {
        return isWithinLimits && !isCutOff;
      },
      get mayBeRefused() {
        return principal !== undefined && !socket.connected;
      },
      authenticate: (check) => counts.authentications.run(name, leaving.signal, check),
      admit(id) {
        if (refusal !== undefined) throw refusal;
        if (isGone || isClosing || current !== account) {
          throw overloaded('the connection has ended');
        }
        if (addressHere().connections >= limits.maxConnectionsPerAddress) throw crowded();
        counts.admit(id);
        principal = id;
        count('connections');
      },
      leave() {
        leaving.abort();
        if (current === account) {
          current = undefined;
          if (!ownsConnection) count(undefined);
        }
        if (principal !== undefined) counts.leave(principal);
        principal = undefined;
      },
      request() {
        if (waiting >= MAX_WAITING_REQUESTS) {
          const tooMany = rateLimited('too many of its requests wait for their turn');
          account.end(tooMany);
          throw tooMany;
        }
        waiting += 1;
        return () => {
          waiting -= 1;
        };
      },
      checkReads() {
        const { packets, units } = unreadOf(connection, namespace);
        if (packets <= MAX_UNREAD_MESSAGES && units <= MAX_UNREAD_UNITS) return true;
        isWithinLimits = false;
        // An orderly close would wait for the client to read.
        if (ownsConnection) terminate(connection);
        else socket.disconnect();
        return false;
      },
      end(reason) {
        if (!isWithinLimits) return;
        isWithinLimits = false;
        if (ownsConnection) return close(reason);
        refusal = reason;
        if (!socket.connected) return;
        emitRefusal(socket, reason);
        socket.disconnect();
      },
    };
    return account;
  }

  connection.on('packet', received);
  connection.once('close', () => {
    isGone = true;
    current?.leave();
    if (address === undefined) return;
    counts.asked(address, connection);
    count(undefined);
    counts.addresses.release(address);
  });

  return {
    enter(socket) {
      if (isGone || isClosing) throw overloaded('the connection is being closed');
      if (current?.mayBeRefused === true) current.leave();
      if (current !== undefined) throw badRequest('it is in the namespace already');
      const { connections, handshakes } = addressHere();
      if (connections >= limits.maxConnectionsPerAddress) throw crowded();
      if (!ownsConnection) {
        if (handshakes >= limits.maxHandshakesPerAddress) throw crowded();
        count('handshakes');
      }
      current = openSocketAccount(socket);
      return current;
    },
    close: () => close(),
  };
}

function isConnect(data: unknown): boolean {
  return typeof data === 'string' && data[0] === CONNECT;
}

/** True for a packet with attachments, and for an attachment. */
function isBinary(data: unknown): boolean {
  return typeof data !== 'string' || BINARY.has(data[0] ?? '');
}

function emitRefusal(socket: Socket, refusal: StreamError): void {
  socket.emit(EVENT.error, { type: EVENT.error, ...wireError(refusal) });
}

function crowded(): StreamError {
  return overloaded('your network has too many connections');
}
