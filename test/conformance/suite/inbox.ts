import type { z } from 'zod';
import { EVENT } from '@rivulet/protocol';
import type { Socket } from 'socket.io-client';
import { Reading, rule } from './reading.js';
import {
  type Closing,
  type Hello,
  errorReply,
  messages,
  openReply,
  type Opened,
  type Refusal,
  shortChunk,
  type Terminal,
} from './shapes.js';

/** The session that each stream was started with, by whichever connection. */
const SESSIONS = new Map<string, string | undefined>();

interface Wait {
  isOver(): boolean;
  settle(): void;
  fail(error: unknown): void;
}

/**
 * All that a connection gets, each message held against its shape and its reader's rules. The first
 * fault fails whatever the test waits for.
 */
export class Inbox {
  readonly opened: { message: Opened; reading: Reading | undefined }[] = [];
  readonly refusals: Refusal[] = [];
  /** Of StreamChangedMessages, in their order. */
  readonly changes: z.infer<(typeof messages)['stream_changed']>['stream'][] = [];
  /** True while changes were asked for. */
  isWatching = false;
  closing: Closing | undefined;
  hello: Hello | undefined;
  disconnected = false;
  readonly #byId = new Map<string, Reading>();
  readonly #byRef = new Map<number, Reading>();
  #hasTaken = false;
  readonly #faults: unknown[] = [];
  readonly #waits = new Set<Wait>();
  readonly #listeners: (() => void)[] = [];
  readonly #asked: readonly Record<string, unknown>[];

  constructor(socket: Socket, opens: readonly Record<string, unknown>[] = []) {
    this.#asked = opens;
    socket.onAny((event: string, ...args: unknown[]) => {
      try {
        if (this.#faults.length === 0) this.#take(event, args);
      } catch (error) {
        this.#faults.push(error);
      }
      for (const listener of this.#listeners) listener();
      this.#look();
    });
    socket.on('disconnect', () => {
      this.disconnected = true;
      this.#look();
    });
  }

  throwFaults(): void {
    if (this.#faults.length > 0) throw this.#faults[0];
  }

  onMessage(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Until it is so; looked at after each message. Rejects with the first fault. */
  until(isSo: () => boolean): Promise<void> {
    return new Promise((settle, fail) => {
      this.#waits.add({ isOver: isSo, settle, fail });
      this.#look();
    });
  }

  /** The result of a reply, read before the next message is handled. */
  async reply<T>(
    emit: (take: (reply: unknown) => void) => void,
    read: (reply: unknown) => T,
  ): Promise<T> {
    let outcome: { value: T } | { error: unknown } | undefined;
    emit((reply) => {
      try {
        outcome = { value: read(reply) };
      } catch (error) {
        outcome = { error };
      }
      this.#look();
    });
    await this.until(() => outcome !== undefined);
    if (outcome === undefined || 'error' in outcome) throw outcome?.error;
    return outcome.value;
  }

  async ended(reading: Reading): Promise<Terminal> {
    await this.until(() => reading.terminal !== undefined);
    return reading.terminal!;
  }

  /** A reply to a start or an resume: from now on the stream's messages may come. */
  open(request: Record<string, unknown>, reply: unknown): Reading {
    const { ok } = reply as { ok?: unknown };
    rule(ok === true, `the stream is opened: ${JSON.stringify(reply)}`);
    const parsed = openReply.parse(reply);
    const { stream_id: asked, offset = 0, window, query, session_id: session } = request;
    rule(asked === undefined || asked === parsed.stream_id, 'the reply names the stream asked for');
    if (query !== undefined) SESSIONS.set(parsed.stream_id, session as string | undefined);
    const place = {
      offset: parsed.reset === true ? 0 : (offset as number),
      window: window as number | undefined,
      sessionId: SESSIONS.get(parsed.stream_id),
    };
    const reading = new Reading(parsed, place);
    this.#byId.get(reading.id)?.end('for a reader whose place was taken');
    this.#byId.set(reading.id, reading);
    if (parsed.ref !== undefined) {
      const other = this.#byRef.get(parsed.ref);
      rule(other === undefined || other.isOver, 'a `ref` names one stream');
      this.#byRef.set(parsed.ref, reading);
    }
    return reading;
  }

  left(id: string): void {
    this.#byId.get(id)?.end('after the reader left');
  }

  #take(event: string, args: unknown[]): void {
    if (event === EVENT.shortChunk) return this.#takeShort(args);
    const shape = Object.entries(messages).find(([name]) => name === event)?.[1];
    rule(shape !== undefined, `there is no event ${event}`);
    rule(args.length === 1, `${event} carries one object`);
    const message = shape.parse(args[0]);
    const isFirst = !this.#hasTaken;
    this.#hasTaken = true;
    if (message.type === 'server_hello') {
      rule(isFirst, '`server_hello` is the first message');
      this.hello = message;
    } else if (message.type === 'stream_changed') {
      rule(this.isWatching, '`stream_changed` comes only where it was asked for');
      this.changes.push(message.stream);
    } else if (message.type === 'server_closing') {
      this.closing = message;
    } else if (message.type === 'stream_reply') {
      this.#takeOpened(message);
    } else if (message.type === 'stream_error' && message.offset === undefined) {
      this.refusals.push(message);
    } else {
      const reading = this.#byId.get(message.stream_id);
      rule(reading !== undefined, 'the reply comes before the stream’s messages');
      const isShort = reading.place.window !== undefined;
      rule(
        !(isShort && message.type === 'stream_chunk'),
        'a reader with a window gets short chunks',
      );
      reading.take(message);
    }
  }

  #takeShort(args: unknown[]): void {
    const [ref, offset, data] = shortChunk.parse(args);
    const reading = this.#byRef.get(ref);
    rule(reading !== undefined, '`ref` is that of a reply');
    const { sessionId } = reading.place;
    const session = sessionId === undefined ? {} : { session_id: sessionId };
    reading.take({ type: 'stream_chunk', stream_id: reading.id, ...session, offset, data });
  }

  #takeOpened(message: Opened): void {
    const request = this.#asked[this.opened.length];
    rule(request !== undefined, 'one `stream_reply` for each request of the handshake');
    const isRefused = errorReply.safeParse(message.reply).success;
    const reading = isRefused ? undefined : this.open(request, message.reply);
    const id = reading?.id ?? request['stream_id'];
    rule(message.stream_id === id, '`stream_reply` names the stream, in the order of the requests');
    this.opened.push({ message, reading });
  }

  #look(): void {
    for (const wait of this.#waits) {
      if (this.#faults.length > 0) wait.fail(this.#faults[0]);
      else if (wait.isOver()) wait.settle();
      else continue;
      this.#waits.delete(wait);
    }
  }
}
