import { createHash } from 'node:crypto';
import { StreamError } from '@rivulet/protocol';
import type { StreamedEntry } from '../../../packages/server/src/entry.js';
import { EMPTY, type Truth, withEntry } from './truth.js';

/** The reason for a further attempt. */
export const FAILURE = new StreamError('provider_unavailable', 'unable to go on: a test says so');

/** A generation that a test plays, and what the log took of it. */
export class Generation {
  readonly query: string;
  /** The part that was consumed so far. */
  taken: Truth = EMPTY;
  /** The place in the queue that the readers should know. */
  ahead = 0;
  /** Nobody wants it any more. */
  isAborted = false;
  /** It said its last, or was aborted. */
  isOver = false;
  #attempt = 0;
  #text = '';
  #tools: string[] = [];
  readonly #said: StreamedEntry[] = [];
  readonly #mayRestart: (generation: Generation) => boolean;
  #wake: () => void = () => {};

  /** `mayRestart` is asked right before an attempt whose text begins again. */
  constructor(query: string, signal: AbortSignal, mayRestart: (generation: Generation) => boolean) {
    this.query = query;
    this.#mayRestart = mayRestart;
    signal.addEventListener('abort', () => {
      this.isAborted = true;
      this.isOver = true;
      this.#wake();
    });
  }

  say(text: string): void {
    this.#begin();
    this.#text += text;
    this.#push({ type: 'text', text });
  }

  think(text: string): void {
    this.#begin();
    this.#push({ type: 'thought', text });
  }

  queue(ahead: number): void {
    this.#push({ type: 'queued', ahead });
  }

  beginAgain(): void {
    this.#attempt += 1;
    this.#text = '';
    const start = { attempt: this.#attempt, source: 'model', provider: 'p', model: 'm' } as const;
    this.#push({ type: 'start', ...start });
  }

  callTool(): void {
    this.#begin();
    const callId = `call-${this.#tools.length}`;
    this.#tools.push(callId);
    this.#push({ type: 'tool_call', callId, name: 't', arguments: {} });
  }

  returnFromTool(): void {
    const callId = this.#tools.at(-1);
    if (callId !== undefined) {
      this.#push({ type: 'tool_result', callId, name: 't', result: 'ok' });
    }
  }

  end(): void {
    this.#begin();
    const digest = createHash('sha256').update(this.#text).digest('hex');
    const totalLength = this.#text.length;
    const end = { finishReason: 'stop', totalLength, digest, usage: {}, timing: { total_ms: 1 } };
    this.#push({ type: 'end', ...end } as StreamedEntry);
    this.isOver = true;
  }

  fail(): void {
    this.#push({ type: 'error', code: 'stalled', message: 'unable to go on: a test says so' });
    this.isOver = true;
  }

  async *entries(): AsyncGenerator<StreamedEntry, void, undefined> {
    while (!this.isAborted) {
      let entry = this.#said.shift();
      if (entry === undefined) {
        await new Promise<void>((resolve) => (this.#wake = resolve));
        continue;
      }
      // Nothing else happens between this and its way into the log.
      this.ahead = entry.type === 'queued' ? entry.ahead : 0;
      if (entry.type === 'start' && entry.attempt > 1 && !this.#mayRestart(this)) {
        this.isOver = true;
        entry = { type: 'error', code: FAILURE.code, message: FAILURE.message };
      }
      if (entry.type !== 'queued' && entry.type !== 'loading')
        this.taken = withEntry(this.taken, entry);
      yield entry;
    }
  }

  #begin(): void {
    if (this.#attempt === 0) this.beginAgain();
  }

  #push(entry: StreamedEntry): void {
    if (this.isOver) return;
    this.#said.push(entry);
    this.#wake();
  }
}
