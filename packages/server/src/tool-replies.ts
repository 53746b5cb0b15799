/** What a client has to send before a call goes on. */
export type Awaits = 'result' | 'approval';

/** What a client said of a call: its result as JSON, why it failed, or whether a user approved it. */
export type ToolReply = { result: unknown } | { error: string } | { approved: boolean };

/** A reply that came before the answer went on in this process; `expired` if the time of the call was over. */
export type StoredReply = ToolReply | 'expired';

/** Receives the replies of clients to the calls of one answer. */
export interface ToolReplies {
  /**
   * Accepts one reply to the call from now on. The answer is paused until it has come, `timeoutMs` have passed
   * or `signal` aborts.
   *
   * @returns a promise that resolves with the reply; with undefined if none has come in time.
   * @throws `signal.reason` by its promise when the signal aborts. Later replies are refused.
   */
  expect(
    callId: string,
    awaits: Awaits,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<ToolReply | undefined>;
}
