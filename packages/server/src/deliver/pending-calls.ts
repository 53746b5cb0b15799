import { createHash } from 'node:crypto';
import { StreamError } from '@rivulet/protocol';
import type { Awaits, ToolReplies, ToolReply } from '../tool-replies.js';

interface Call {
  readonly awaits: Awaits;
  /** Present while the call waits. Called without a reply after the timeout. */
  resolve?: (reply: ToolReply | undefined) => void;
  /** The digest of the accepted reply; undefined if there is none. */
  digest?: string;
}

export interface PendingCallsListener {
  /** Called when the first call begins to wait, and when none waits any more. */
  onChange(isPaused: boolean): void;
  /**
   * Called when the time of a call is over.
   *
   * @returns the reply that another process has taken before; undefined for none, as if the method is absent.
   */
  onTimeout?(callId: string): Promise<ToolReply | undefined> | undefined;
}

/** The calls of one answer that wait, or waited, for a client. */
export class PendingCalls implements ToolReplies {
  /** The limits of tools bound its size. */
  readonly #calls = new Map<string, Call>();
  readonly #listener: PendingCallsListener;
  #waiting = 0;

  constructor(listener: PendingCallsListener) {
    this.#listener = listener;
  }

  get isPaused(): boolean {
    return this.#waiting > 0;
  }

  /** The calls that wait. */
  get waiting(): readonly string[] {
    return [...this.#calls].flatMap(([callId, { resolve }]) => (resolve ? [callId] : []));
  }

  expect(
    callId: string,
    awaits: Awaits,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<ToolReply | undefined> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error);
      const timer = setTimeout(() => void this.#expire(callId, call), timeoutMs);
      const settle = (): void => {
        clearTimeout(timer);
        delete call.resolve;
        signal.removeEventListener('abort', abort);
        this.#waiting -= 1;
        if (this.#waiting === 0) this.#listener.onChange(false);
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
      if (this.#waiting === 1) this.#listener.onChange(true);
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
    checkReply(call?.awaits, reply);
    if (call === undefined) return;
    const digest = createHash('sha256').update(JSON.stringify(reply)).digest('base64');
    if (call.resolve !== undefined) {
      call.digest = digest;
      return call.resolve(reply);
    }
    if (call.digest !== digest) throw replyConflict();
  }

  async #expire(callId: string, call: Call): Promise<void> {
    const taken = this.#listener.onTimeout?.(callId);
    const reply = taken === undefined ? undefined : await taken;
    if (call.resolve === undefined) return;
    if (reply === undefined) call.resolve(undefined);
    else this.reply(callId, reply);
  }
}

/**
 * @param awaits the kind of reply that the call waits for; undefined if there is no such call.
 * @throws {StreamError} not_found, if there is no such call; bad_request, if it waits for something else.
 */
export function checkReply(awaits: Awaits | undefined, reply: ToolReply): void {
  if (awaits === undefined) {
    throw new StreamError('not_found', 'unable to answer the call: no waiting call has this id');
  }
  if ('approved' in reply === (awaits === 'approval')) return;
  throw new StreamError(
    'bad_request',
    `unable to answer the call: it waits for ${awaits === 'approval' ? 'an approval' : 'a result'}`,
  );
}

export function replyConflict(): StreamError {
  return new StreamError(
    'conflict',
    'unable to answer the call: it has another reply, or has ended without one',
  );
}
