/** The kind of reply that a call needs from a client. */
export type Awaits = 'result' | 'approval';

/** A client's reply to a call: the result as JSON, an error message, or the user's decision. */
export type ToolReply = { result: unknown } | { error: string } | { approved: boolean };

/** Receives the replies of clients to the calls of one answer. */
export interface ToolReplies {
  /**
   * Waits for one reply to the call. The answer is paused until the reply arrives or `signal` aborts.
   *
   * @returns a promise of the reply. It rejects with `signal.reason` when the signal aborts. Later replies
   * are refused.
   */
  expect(callId: string, awaits: Awaits, signal: AbortSignal): Promise<ToolReply>;
}
