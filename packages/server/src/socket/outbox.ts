import { EVENT } from '@rivulet/protocol';
import type { Socket } from 'socket.io';
import type { Frame } from '../deliver/log.js';
import type { Flushable } from '../deliver/pace.js';
import type { Connection } from './connection.js';
import { encodeShort, shortJson } from './encode.js';
import { eventPrefix, writePackets, writesJson } from './engine-write.js';

/** No more is added to one write that has this many UTF-16 units: a long text leaves room for others. */
const MAX_WRITE_UNITS = 4_096;

/**
 * What the server sends to one socket, in order. What the streams of a connection send in one turn of the
 * event loop leaves in one write.
 *
 * Socket.IO buffers without bound what the transport does not take, so readers ask first. Readers that
 * have to wait flush in the order in which they asked, so that one stream does not starve the others.
 */
export class Outbox {
  readonly #socket: Socket;
  readonly #writesJson: boolean;
  readonly #prefix: string;
  #packets: string[] = [];
  #units = 0;
  /** Undefined until a reader has to wait. */
  #waiting: Waiting | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#writesJson = writesJson(socket);
    this.#prefix = eventPrefix(socket);
  }

  /** @returns true if the transport takes a message now. If not, `reader` is flushed when it does. */
  writable(reader: Flushable): boolean {
    if (this.#isWritable()) return true;
    this.#waiting ??= new Waiting(this.#socket.conn, () => this.#isWritable());
    this.#waiting.add(reader);
    return false;
  }

  /** The reader is not flushed any more. */
  forget(reader: Flushable): void {
    this.#waiting?.delete(reader);
  }

  emit(event: string, ...args: unknown[]): void {
    if (this.#isPlain()) this.#push(JSON.stringify([event, ...args]));
    else this.#emitNow(event, args);
  }

  /** Emits text as a short chunk. */
  emitShort(ref: number, frame: Frame): void {
    if (this.#isPlain()) this.#push(shortJson(ref, frame));
    else this.#emitNow(EVENT.shortChunk, encodeShort(ref, frame) ?? []);
  }

  /** Writes what was emitted. To be called before anything else writes to the socket. */
  write = (): void => {
    const packets = this.#packets;
    if (packets.length === 0) return;
    this.#packets = [];
    this.#units = 0;
    if (this.#socket.connected) writePackets(this.#socket.conn, packets);
  };

  close(): void {
    this.write();
    this.#waiting?.close();
    this.#waiting = undefined;
  }

  #isWritable(): boolean {
    return this.#units < MAX_WRITE_UNITS && this.#socket.conn.transport.writable;
  }

  /** A user of the Socket.IO server may want to see each event, or to encode it otherwise. */
  #isPlain(): boolean {
    return this.#writesJson && this.#socket.listenersAnyOutgoing().length === 0;
  }

  #emitNow(event: string, args: unknown[]): void {
    this.write();
    this.#socket.emit(event, ...args);
  }

  #push(json: string): void {
    const packet = this.#prefix + json;
    this.#units += packet.length;
    if (this.#packets.push(packet) === 1) process.nextTick(this.write);
  }
}

/** The readers that wait for a transport. It listens only while there are some. */
class Waiting {
  readonly #readers = new Set<Flushable>();
  readonly #conn: Connection;
  readonly #isWritable: () => boolean;
  #transport: Connection['transport'] | undefined;

  constructor(conn: Connection, isWritable: () => boolean) {
    this.#conn = conn;
    this.#isWritable = isWritable;
  }

  add(reader: Flushable): void {
    this.#readers.add(reader);
    if (this.#transport === undefined) this.#listen();
  }

  delete(reader: Flushable): void {
    this.#readers.delete(reader);
  }

  close(): void {
    this.#readers.clear();
    this.#wake();
  }

  #listen(): void {
    // Engine.IO's `drain` fires when a packet is handed over; the transport's `ready` when it has left.
    this.#transport = this.#conn.transport.on('ready', this.#wake);
    this.#conn.on('upgrade', this.#followUpgrade);
  }

  #stopListening(): void {
    this.#conn.off('upgrade', this.#followUpgrade);
    this.#transport?.off('ready', this.#wake);
    this.#transport = undefined;
  }

  readonly #wake = (): void => {
    // A reader that has to wait again goes to the end of the set, which this loop still reaches.
    for (const reader of this.#readers) {
      if (!this.#isWritable()) return;
      this.#readers.delete(reader);
      reader.flush();
    }
    this.#stopListening();
  };

  readonly #followUpgrade = (): void => {
    this.#stopListening();
    this.#listen();
    this.#wake();
  };
}
