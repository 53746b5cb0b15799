import { EVENT } from '@rivulet/protocol';
import type { Socket } from 'socket.io';
import type { LogSlice } from '../deliver/log.js';
import type { Flushable } from '../deliver/flush-scheduler.js';
import { ConnectionWriter } from './connection-writer.js';
import { encodeShort, shortJson } from './encode.js';

/** The type of a Socket.IO packet that is an event without binary data. */
const EVENT_TYPE = '2';
/** A write of this many UTF-16 units is not extended, so that a long text does not delay other messages. */
const MAX_WRITE_UNITS = 4_096;

/**
 * Sends the messages of one socket in order. The messages of all its streams in one turn of the event loop
 * leave in one write.
 *
 * Socket.IO buffers messages without a limit while the transport is busy, so readers check `writable` first.
 * Waiting readers flush in the order of their checks, so that one stream does not starve the others.
 */
export class Outbox {
  readonly #socket: Socket;
  readonly #writer: ConnectionWriter;
  /** The text before the JSON of an event in its packet; undefined if the server uses another parser. */
  readonly #prefix: string | undefined;
  #packets: string[] = [];
  #units = 0;
  /** A reply that is sent before the packets. */
  #reply: (() => void) | undefined;
  #waiting: Set<Flushable> | undefined;
  /** True if `#wake()` is registered with the connection. */
  #willWake = false;

  constructor(socket: Socket) {
    const { nsp, conn } = socket;
    this.#socket = socket;
    this.#writer = new ConnectionWriter(conn);
    if (nsp.server['_opts'].parser === undefined) {
      this.#prefix = nsp.name === '/' ? EVENT_TYPE : `${EVENT_TYPE}${nsp.name},`;
    }
  }

  /** @returns true if the transport takes a message now. Otherwise, `reader` is flushed when it does. */
  writable(reader: Flushable): boolean {
    if (this.#isWritable()) return true;
    (this.#waiting ??= new Set()).add(reader);
    this.#wakeLater();
    return false;
  }

  /** Cancels the flush of the reader. */
  forget(reader: Flushable): void {
    this.#waiting?.delete(reader);
  }

  emit(event: string, ...args: unknown[]): void {
    if (this.#isPlain()) this.#push(JSON.stringify([event, ...args]));
    else this.#emitNow(event, args);
  }

  /** Sends text as a short chunk. */
  emitShort(ref: number, slice: LogSlice): void {
    if (this.#isPlain()) this.#push(shortJson(ref, slice));
    else this.#emitNow(EVENT.shortChunk, encodeShort(ref, slice) ?? []);
  }

  /**
   * Sends a Socket.IO reply, which `send` writes. Messages that the request causes in this turn of the event
   * loop leave in the same write.
   */
  reply(send: () => void): void {
    // An earlier reply is not delayed, because unread replies are counted when the next request is carried
    // out.
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
    // A reader that has to wait again is added to the end of the set.
    for (const reader of waiting) {
      waiting.delete(reader);
      reader.flush();
      if (this.#willWake) return;
    }
  }

  /** False if the application listens to each sent event, or uses another parser. */
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
