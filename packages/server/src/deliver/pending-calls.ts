import { createHash } from 'node:crypto';
import { StreamError } from '@rivulet/protocol';
import type { Awaits, ToolReplies, ToolReply } from '../tool-replies.js';

interface Call {
  readonly awaits: Awaits;
  /** Present while the call waits. */
  resolve?: (reply: ToolReply) => void;
  /** The digest of the accepted reply; undefined if there is none. */
  digest?: string;
}

/** The calls of one answer that wait, or waited, for a client. */
export class PendingCalls implements ToolReplies {
  /** The limits of tools bound its size. */
  readonly #calls = new Map<string, Call>();
  readonly #onChange: (isPaused: boolean) => void;
  #waiting = 0;

  /** `onChange` is called when the first call starts to wait, and when no call waits any more. */
  constructor(onChange: (isPaused: boolean) => void) {
    this.#onChange = onChange;
  }

  get isPaused(): boolean {
    return this.#waiting > 0;
  }

  expect(callId: string, awaits: Awaits, signal: AbortSignal): Promise<ToolReply> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error);
      const settle = (): void => {
        delete call.resolve;
        signal.removeEventListener('abort', abort);
        this.#waiting -= 1;
        if (this.#waiting === 0) this.#onChange(false);
      };
      const abort = (): void => {
        settle();
        reject(signal.reason as Error);
      };
      const call: Call = {
        awaits,
        resolve: (reply) => {
          settle();
          resolve(reply);
        },
      };
      signal.addEventListener('abort', abort);
      this.#calls.set(callId, call);
      this.#waiting += 1;
      if (this.#waiting === 1) this.#onChange(true);
    });
  }

  /**
   * Passes a reply to its call. Repeating the same reply does nothing, because a client sends it again after
   * a disconnect.
   *
   * @throws {StreamError} not_found, if the call never waited; bad_request, if it waits for another kind of
   * reply; conflict, if it has another reply or has ended without one.
   */
  reply(callId: string, reply: ToolReply): void {
    const call = this.#calls.get(callId);
    if (call === undefined) {
      throw new StreamError('not_found', 'unable to answer the call: no waiting call has this id');
    }
    if ('approved' in reply !== (call.awaits === 'approval')) {
      throw new StreamError(
        'bad_request',
        `unable to answer the call: it waits for ${call.awaits === 'approval' ? 'an approval' : 'a result'}`,
      );
    }
    const digest = createHash('sha256').update(JSON.stringify(reply)).digest('base64');
    if (call.resolve !== undefined) {
      call.digest = digest;
      return call.resolve(reply);
    }
    if (call.digest === digest) return;
    throw new StreamError(
      'conflict',
      'unable to answer the call: it has another answer, or has ended without one',
    );
  }
}
