import { createHash } from 'node:crypto';
import type {
  Accepted,
  Chunk,
  Incomplete,
  Loading,
  Logged,
  OpenReply,
  Queued,
  Start,
  Terminal,
  Tool,
} from './shapes.js';

type Message = Logged | Queued | Loading | Incomplete;

/** The first offset of a reader, and the promises of the reply. */
export interface Place {
  offset: number;
  window: number | undefined;
  sessionId: string | undefined;
}

/**
 * One reader of one stream, by the rules of PROTOCOL.md. A message that breaks one of them throws
 * with the rule.
 */
export class Reading {
  readonly id: string;
  readonly reply: OpenReply;
  place: Place;
  /** The log from `place.offset` on: a code unit of text each, or another entry as JSON. */
  readonly units: string[] = [];
  readonly messages: Message[] = [];
  terminal: Terminal | undefined;
  /** The text of the newest attempt, as far as this reader has it. */
  text = '';
  acked: number;
  /** True if further messages may follow. */
  #over: string | undefined;
  #attempt = 0;
  /** Of a plain reader, until its `stream_end` has come. */
  #failure: Terminal | undefined;
  #calls: string[] = [];
  readonly #callsSeen = new Set<string>();

  constructor(reply: OpenReply, place: Place) {
    this.id = reply.stream_id;
    this.reply = reply;
    this.place = place;
    this.acked = place.offset;
    const hasRef = reply.ref !== undefined;
    rule(hasRef === (place.window !== undefined), 'a `ref` is there if a window was given');
  }

  /** The reader has everything below it. */
  get next(): number {
    return this.place.offset + this.units.length;
  }

  get isOver(): boolean {
    return this.#over !== undefined;
  }

  /** From now on nothing may come for it. */
  end(why: string): void {
    this.#over ??= why;
  }

  take(message: Message): void {
    rule(this.#over === undefined, `nothing comes ${this.#over}`);
    rule(message.stream_id === this.id, 'a message names its stream');
    rule(
      message.session_id === this.place.sessionId,
      '`session_id` comes back in every message of the stream',
    );
    if (message.type === 'stream_end' && !message.complete) this.#takeIncomplete(message);
    else if (message.type !== 'stream_queued' && message.type !== 'stream_loading') {
      rule(
        this.#failure === undefined,
        'after its `stream_error` a plain reader gets `stream_end`',
      );
      this.#takeLogged(message);
    }
    this.messages.push(message);
  }

  #takeLogged(message: Logged): void {
    const size = message.type === 'stream_chunk' ? message.data.length : 1;
    if (message.type === 'stream_start') this.#checkForm(message);
    rule(
      message.offset === this.next,
      `offsets are contiguous: ${message.type} at ${message.offset}, not at ${this.next}`,
    );
    this.#checkCredit(message, message.offset + size);
    switch (message.type) {
      case 'stream_start':
        rule(this.#calls.length === 0, 'results come before another attempt');
        rule(
          message.attempt === this.#attempt + 1 || (this.#attempt === 0 && this.next > 0),
          `attempts are counted: ${message.attempt} after ${this.#attempt}`,
        );
        rule(this.next > 0 || message.attempt === 1, 'the first attempt is 1');
        this.#attempt = message.attempt;
        this.text = '';
        break;
      case 'stream_chunk':
        this.#takeText(message);
        return;
      case 'stream_tool':
        this.#takeTool(message);
        break;
      case 'stream_end':
        rule(this.#calls.length === 0, 'results come before the end');
        this.#checkEnd(message);
        break;
      case 'stream_thought':
      case 'stream_error':
        break;
    }
    this.units.push(unitOf(message));
    if (message.type === 'stream_error' && this.isPlain) this.#failure = message;
    else if (message.type === 'stream_end' || message.type === 'stream_error') this.#close(message);
  }

  get isPlain(): boolean {
    return this.place.window === undefined;
  }

  #close(terminal: Terminal): void {
    this.terminal = terminal;
    this.end('after the end');
  }

  /** Of `stream_start`: what a plain reader gets is not what another gets. */
  #checkForm(message: Start | Accepted): void {
    const isAccepted = !('provider' in message);
    if (!this.isPlain || this.place.offset > 0) {
      rule(
        !isAccepted,
        'only a plain reader from offset 0 on gets the `stream_start` without provider',
      );
      return;
    }
    const isFurther = this.units.length > 0 && this.text === '';
    if (isFurther && !isAccepted) return;
    rule(isAccepted && this.units.length === 0, 'a plain reader gets one `stream_start`, at once');
    // It reads the newest attempt alone.
    this.place = { ...this.place, offset: message.offset };
  }

  #takeIncomplete({ code, total_length: length }: Incomplete): void {
    const failure = this.#failure;
    rule(failure?.type === 'stream_error', '`complete: false` comes after `stream_error`');
    rule(code === failure.code, 'both have the same code');
    if (this.#isWhole)
      rule(length === this.text.length, '`total_length` is that of the text so far');
    this.#close(failure);
  }

  /** True if this reader has the complete newest attempt. */
  get #isWhole(): boolean {
    return this.#attempt > 0;
  }

  #takeText({ data }: Chunk): void {
    rule(this.#attempt > 0 || this.place.offset > 0, 'text comes after `stream_start`');
    rule(this.#calls.length === 0, 'no text comes before the results of calls');
    rule(!/^[\uDC00-\uDFFF]/.test(data), 'no message begins in a surrogate pair');
    rule(!/[\uD800-\uDBFF]$/.test(data), 'no message ends in a surrogate pair');
    this.text += data;
    for (let i = 0; i < data.length; i++) this.units.push(data.charAt(i));
  }

  #takeTool(message: Tool): void {
    const { call_id: callId } = message;
    if (message.phase === 'call') {
      rule(!this.#callsSeen.has(callId), 'no other call of the stream has its `call_id`');
      this.#callsSeen.add(callId);
      this.#calls.push(callId);
      return;
    }
    // A reader that came later has not seen the calls of the first results.
    if (!this.#callsSeen.has(callId) && this.place.offset > 0) return;
    if (message.phase === 'decision') {
      rule(this.#calls.includes(callId), 'a decision comes before the result');
      return;
    }
    rule(this.#calls.shift() === callId, 'results come in the order of the calls');
  }

  #checkCredit(message: Logged, end: number): void {
    const { window } = this.place;
    if (window === undefined) return;
    // With a credit of one and a pair to come, a window of 1 would wait for ever.
    const isPair = message.type === 'stream_chunk' && /^[\uD800-\uDBFF][^]$/.test(message.data);
    rule(
      end <= this.acked + window + (isPair ? 1 : 0),
      `no more than the window is under way: ${end} is beyond ${this.acked} + ${window}`,
    );
  }

  #checkEnd(message: Extract<Terminal, { type: 'stream_end' }>): void {
    if (!this.#isWhole) return;
    rule(message.total_length === this.text.length, '`total_length` is that of the text');
    rule(message.digest === digestOf(this.text), '`digest` is that of the text');
    const { first_chunk_ms: first = 0, total_ms: total } = message.timing;
    rule(first <= total, 'the first chunk comes no later than the end');
  }
}

export function digestOf(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex');
}

/** The same for readers of both forms. */
function unitOf(message: Exclude<Logged, Chunk>): string {
  if (message.type !== 'stream_start') return JSON.stringify(message);
  const { type, offset, attempt } = message;
  return JSON.stringify({ type, offset, attempt });
}

/** Throws with the rule where it is broken. */
export function rule(holds: boolean, words: string): asserts holds {
  if (!holds) throw new Error(`the protocol is broken: ${words}`);
}
