import assert from 'node:assert/strict';
import { StreamError } from '@rivulet/protocol';
import {
  decodeMessage,
  type LogSegment as ReceivedFrame,
} from '../../../packages/client/src/connection/log-segment.js';
import {
  NOTHING_RECEIVED,
  receive,
  receiveQueued,
  type ReceivedAnswer,
} from '../../../packages/client/src/answer/receive.js';
import type { LogSlice } from '../../../packages/server/src/deliver/log.js';
import type { Flushable } from '../../../packages/server/src/deliver/flush-scheduler.js';
import type { ReaderSink } from '../../../packages/server/src/deliver/reader.js';
import type {
  LeaveReason,
  Stream,
  Subscription,
} from '../../../packages/server/src/deliver/stream.js';
import { type ErrorEntry, isTerminal } from '../../../packages/server/src/entry.js';
import { encode, encodeShort } from '../../../packages/server/src/socket/encode.js';
import { partsPair, toldBy, toldTo, type Truth, upTo, withEntry } from './truth.js';

/** The expected content of a stream: its generation, and its own end if it was cancelled. */
export interface ModelStream {
  id: string;
  query: string;
  truth(): Truth;
}

type OnTheWay = ReceivedFrame | { ahead: number } | 'opened' | 'not found';

const DROPPED: ErrorEntry = { type: 'error', code: 'interrupted', message: 'unable to go on' };

/** A client that reads one stream as the SDK does, over a wire on which the test lets things happen. */
export class ModelReader {
  received: ReceivedAnswer = NOTHING_RECEIVED;
  /** The server does not know the stream any more. */
  isLost = false;
  stream: ModelStream;
  readonly #name: string;
  readonly #window: number | undefined;
  #subscription: Subscription | undefined;
  /** The stream of the subscription. */
  #read: Stream | undefined;
  #wire: OnTheWay[] = [];
  /** Frames of a connection that is gone, which may still come, at any time and in any order. */
  #late: ReceivedFrame[] = [];
  #last: ReceivedFrame | undefined;
  #awaitsReply = false;
  #isBlocked = false;
  #refused = new Set<Flushable>();
  #sent = 0;
  #acked = 0;
  #toldAhead = 0;
  #droppedAt: number | undefined;

  constructor(name: string, stream: ModelStream, window: number | undefined) {
    this.#name = name;
    this.stream = stream;
    this.#window = window;
  }

  get isDone(): boolean {
    return this.isLost || this.received.terminal !== undefined;
  }

  get isConnected(): boolean {
    return this.#subscription !== undefined || this.#awaitsReply;
  }

  /** It has no window, and the server sends to it. */
  get isReadingPlain(): boolean {
    return this.#window === undefined && this.#subscription !== undefined;
  }

  /** It has, or will have, from an earlier connection what this one did not send yet. */
  get isAhead(): boolean {
    const ends = this.#wire.map((item) => (isFrame(item) ? item.offset + item.size : 0));
    return Math.max(this.received.offset, ...ends) > this.#sent;
  }

  /** Nothing is on its way to it. */
  get isUpToDate(): boolean {
    return this.#wire.length === 0;
  }

  /** Reads on from what is here; `find` throws where the server does not know the stream. */
  resume(find: () => Stream): void {
    if (this.isDone) return;
    let stream: Stream;
    try {
      stream = find();
    } catch (error) {
      if (!(error instanceof StreamError) || error.code !== 'not_found') throw error;
      this.#wire.push('not found');
      this.#awaitsReply = true;
      return;
    }
    const { offset } = this.received;
    assert.ok(offset <= stream.log.head, 'a log never shrinks');
    const [before, readBefore] = [this.#subscription, this.#read];
    this.#sent = offset;
    this.#acked = offset;
    this.#toldAhead = 0;
    this.#awaitsReply = true;
    this.#wire.push('opened');
    const place = { offset, window: this.#window, readerId: this.#name };
    const subscription = stream.read(
      place,
      this.#sink(() => this.#subscription === subscription),
    );
    this.#subscription = subscription;
    this.#read = stream;
    if (before !== undefined) readBefore?.leave(before, 'detached');
  }

  #leave(how: LeaveReason): void {
    if (this.#subscription !== undefined) this.#read?.leave(this.#subscription, how);
  }

  /** Asks again, under another name, what a server did not know any more. */
  moveTo(stream: ModelStream): void {
    this.stream = stream;
    this.isLost = false;
    this.#awaitsReply = false;
    this.#droppedAt = undefined;
    this.#last = undefined;
    this.forgetLate();
  }

  /** The connection breaks; the last `late` frames on their way are not lost but late. */
  cut(late: number): void {
    this.#leave('lost');
    this.#disconnect(late);
  }

  /** The server is gone, and with it the log. */
  crash(late: number): void {
    this.#leave('lost');
    this.#disconnect(late);
  }

  #disconnect(late: number): void {
    this.#subscription = undefined;
    this.#late.push(...this.#wire.filter(isFrame).slice(-late - 1, -1));
    this.#wire = [];
    this.#awaitsReply = false;
    this.received = receiveQueued(this.received, 0);
  }

  deliver(count: number, find: () => Stream): void {
    for (const item of this.#wire.splice(0, count)) {
      if (this.isDone) return;
      if (item === 'opened') this.#opened();
      else if (item === 'not found') this.isLost = true;
      else if ('ahead' in item) this.received = receiveQueued(this.received, item.ahead);
      else this.#receive(item, find);
    }
  }

  /** A new reader is told its place unless that is 0. */
  #opened(): void {
    this.#awaitsReply = false;
    this.received = receiveQueued(this.received, 0);
  }

  deliverLate(which: number, find: () => Stream): void {
    const [frame] = this.#late.splice(which % Math.max(1, this.#late.length), 1);
    if (frame !== undefined) this.#receive(frame, find);
  }

  deliverAgain(find: () => Stream): void {
    if (this.#last !== undefined) this.#receive(this.#last, find);
  }

  forgetLate(): void {
    this.#late = [];
  }

  /** As the SDK acknowledges: what is here, each quarter of the window. */
  ackLazily(): void {
    const { offset } = this.received;
    if (offset - this.#acked >= (this.#window ?? 0) / 4) this.ack(offset);
  }

  ack(offset: number): void {
    if (offset > this.#acked && offset <= this.#sent) this.#acked = offset;
    this.#subscription?.reader.ack(offset);
  }

  /** The transport takes nothing for now. */
  block(): void {
    this.#isBlocked = true;
  }

  unblock(): void {
    this.#isBlocked = false;
    for (const reader of this.#refused) {
      this.#refused.delete(reader);
      reader.flush();
    }
  }

  /** Checks that the received content is equal to the stream's content up to that offset. */
  check(): void {
    const truth = this.#truth();
    const { offset, terminal } = this.received;
    assert.ok(offset <= truth.units.length, 'a reader has no more than there is');
    assert.deepEqual(toldTo(this.received), toldBy(upTo(truth, offset)));
    if (terminal !== undefined) assert.equal(offset, truth.units.length);
  }

  #truth(): Truth {
    const truth = this.stream.truth();
    const at = this.#droppedAt;
    return at === undefined ? truth : withEntry(upTo(truth, at), DROPPED);
  }

  #receive(frame: ReceivedFrame, find: () => Stream): void {
    if (this.isDone) return;
    this.#last = frame;
    const step = receive(this.received, frame);
    if (step !== undefined && step !== 'gap') this.received = step.received;
    else if (step === 'gap' && !this.#awaitsReply && this.#subscription !== undefined)
      this.resume(find);
    this.check();
  }

  #sink(isCurrent: () => boolean): ReaderSink {
    return {
      writable: (reader) => {
        if (this.#isBlocked) this.#refused.add(reader);
        return !this.#isBlocked;
      },
      send: (frame) => {
        assert.ok(isCurrent(), 'a reader that was left sends nothing');
        this.#send(frame);
      },
      drop: (offset) => {
        if (!isCurrent()) return;
        assert.equal(offset, this.#sent);
        this.#droppedAt = offset;
        this.#wire.push(this.#overTheWire({ offset, size: 1, entry: DROPPED }));
      },
      forget: (reader) => void this.#refused.delete(reader),
      sendNews: (news) => {
        const ahead = news.type === 'queued' ? news.ahead : 0;
        assert.notEqual(ahead, this.#toldAhead, 'a place is told once');
        this.#toldAhead = ahead;
        this.#wire.push({ ahead });
      },
    };
  }

  #send(frame: LogSlice): void {
    const truth = this.stream.truth();
    assert.ok(!this.#isBlocked, 'nothing is sent that the transport does not take');
    assert.equal(frame.offset, this.#sent, 'frames follow one another');
    this.#sent += frame.size;
    this.#toldAhead = 0;
    assert.ok(!partsPair(truth, this.#sent), 'no frame parts a surrogate pair');
    // A pair goes whole into the last unit of a window.
    const bound = this.#acked + (this.#window ?? Infinity) + 1;
    assert.ok(this.#sent <= bound, 'no more is sent than the window holds');
    this.#wire.push(this.#overTheWire(frame));
    if (isTerminal(frame.entry)) this.#leave('detached');
  }

  #overTheWire(frame: LogSlice): ReceivedFrame {
    const short = this.#window === undefined ? undefined : encodeShort(1, frame);
    if (short !== undefined) {
      const [, offset, text] = short;
      return { offset, size: text.length, entry: { type: 'text', text } };
    }
    const decoded = decodeMessage(encode(frame, { stream_id: this.stream.id })[1]);
    if (decoded === undefined) throw new Error('a frame has an offset');
    return decoded;
  }
}

function isFrame(item: OnTheWay): item is ReceivedFrame {
  return typeof item === 'object' && 'offset' in item;
}
