import { EVENT } from '@rivulet/protocol';
import type { Socket } from 'socket.io';
import type { Frame } from '../deliver/log.js';
import type { Flushable } from '../deliver/pace.js';
import { ConnectionWriter } from './connection-writer.js';
import { encodeShort, shortJson } from './encode.js';

/** The type of a Socket.IO packet that is an event without binary data. */
const EVENT_TYPE = '2';
/** No more is added to one write that has this many UTF-16 units: a long text leaves room for others. */
const MAX_WRITE_UNITS = 4_096;

/**
 * What the server sends to one socket, in order. What the streams of a socket send in one turn of the
 * event loop leaves in one write.
 *
 * Socket.IO buffers without bound what the transport does not take, so readers ask first. Readers that
 * have to wait flush in the order in which they asked, so that one stream does not starve the others.
 */
export class Outbox {
  readonly #socket: Socket;
  readonly #writer: ConnectionWriter;
  /** What precedes the JSON of an event in its packet; undefined if another parser is in use. */
  readonly #prefix: string | undefined;
  #packets: string[] = [];
  #units = 0;
  /** A reply that precedes the packets. */
  #reply: (() => void) | undefined;
  #waiting: Set<Flushable> | undefined;
  /** True while the connection is to call `#wake()`. */
  #willWake = false;

  constructor(socket: Socket) {
    const { nsp, conn } = socket;
    this.#socket = socket;
    this.#writer = new ConnectionWriter(conn);
    if (nsp.server['_opts'].parser === undefined) {
      this.#prefix = nsp.name === '/' ? EVENT_TYPE : `${EVENT_TYPE}${nsp.name},`;
    }
  }

  /** @returns true if the transport takes a message now. If not, `reader` is flushed when it does. */
  writable(reader: Flushable): boolean {
    if (this.#isWritable()) return true;
    (this.#waiting ??= new Set()).add(reader);
    this.#wakeLater();
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

  /**
   * Sends a reply of Socket.IO, which `send` writes. What the request has readers send in this turn of the
   * event loop leaves in the same write.
   */
  reply(send: () => void): void {
    // Replies are not held back, because unread ones are counted when the next request is carried out.
    this.#write();
    this.#reply = send;
    process.nextTick(this.#write);
  }

  readonly #write = (): void => {
    const packets = this.#packets;
    const reply = this.#reply;
    if (packets.length === 0 && reply === undefined) return;
    this.#packets = [];
    this.#units = 0;
    this.#reply = undefined;
    if (reply === undefined) this.#writePackets(packets);
    else {
      this.#writer.together(() => {
        reply();
        this.#writePackets(packets);
      });
    }
  };

  #writePackets(packets: readonly string[]): void {
    if (packets.length > 0 && this.#socket.connected) this.#writer.write(packets);
  }

  close(): void {
    this.#write();
    this.#waiting = undefined;
  }

  #isWritable(): boolean {
    return this.#units < MAX_WRITE_UNITS && this.#writer.isWritable;
  }

  #wakeLater(): void {
    if (this.#willWake) return;
    this.#willWake = true;
    this.#write();
    this.#writer.onWritable(() => this.#wake());
  }

  #wake(): void {
    this.#willWake = false;
    const waiting = this.#waiting;
    if (waiting === undefined || waiting.size === 0) return;
    if (!this.#isWritable()) return this.#wakeLater();
    // A reader that has to wait again goes to the end of the set.
    for (const reader of waiting) {
      waiting.delete(reader);
      reader.flush();
      if (this.#willWake) return;
    }
  }

  /** False if a user of the Socket.IO server sees each event, or encodes it otherwise. */
  #isPlain(): boolean {
    return this.#prefix !== undefined && this.#socket.listenersAnyOutgoing().length === 0;
  }

  #emitNow(event: string, args: unknown[]): void {
    this.#write();
    this.#socket.emit(event, ...args);
  }

  #push(json: string): void {
    const packet = this.#prefix + json;
    this.#units += packet.length;
    if (this.#packets.push(packet) === 1 && this.#reply === undefined)
      process.nextTick(this.#write);
  }
}
