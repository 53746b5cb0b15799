/** The kind of reply that a call needs from a client. */
export type Awaits = 'result' | 'approval';

/** A client's reply to a call: the result as JSON, an error message, or the user's decision. */
export type ToolReply = { result: unknown } | { error: string } | { approved: boolean };

/** A reply that arrived before this process continued the answer; `expired` if the call had timed out. */
export type StoredReply = ToolReply | 'expired';

/** Receives the replies of clients to the calls of one answer. */
export interface ToolReplies {
  /**
   * Waits for one reply to the call. The answer is paused until the reply arrives, `timeoutMs` milliseconds
   * have passed or `signal` aborts. Later replies are refused.
   *
   * @returns a promise of the reply; of undefined after the timeout. It rejects with `signal.reason` when the
   * signal aborts.
   */
  expect(
    callId: string,
    awaits: Awaits,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<ToolReply | undefined>;
}
