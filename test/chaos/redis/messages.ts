/** A request to the process of a server: the size of its state. */
export interface ToNode {
  type: 'stats';
}

export type FromNode =
  | { type: 'listening'; url: string }
  /** The server has lost Redis, or has reached it again. */
  | { type: 'redis'; isReached: boolean; atMs: number }
  /** The server begins to generate an answer. */
  | { type: 'call'; query: string; call: string; atMs: number }
  /** The server logs something of an answer, which `requestId` names. */
  | { type: 'line'; requestId: string; event: string; line: string; atMs: number }
  /** Generations under way, and sockets. */
  | { type: 'stats'; active: number; sockets: number };

/** A visitor with two clients, behind a link each. The second one reads along, or cancels. */
export interface VisitorPlan {
  name: string;
  urls: readonly [string, string];
  streams: number;
}

export type ToReaders =
  | { type: 'read'; seed: string; plans: readonly VisitorPlan[] }
  | { type: 'stop' }
  /** Asks what is known of the answers that have not ended. */
  | { type: 'describe' }
  | { type: 'close' };

export type FromReaders =
  | { type: 'asked'; query: string }
  | { type: 'ended'; query: string; status: string; attempt: number; cancelled: boolean }
  | { type: 'violation'; query: string; requestId: string | undefined; what: string }
  /** A reader was told that its stream is gone, or had another whole text than the other reader. */
  | {
      type: 'apart';
      query: string;
      requestId: string | undefined;
      what: string;
      atMs: number;
    }
  /** A reader, connected since `connectedAtMs`, shows text of another call than before. */
  | {
      type: 'replaced';
      query: string;
      requestId: string | undefined;
      before: string;
      call: string;
      connectedAtMs: number;
      sinceMs: number;
      atMs: number;
    }
  /** The facts that the clients know of an answer that has not ended. */
  | { type: 'unended'; query: string; requestId: string | undefined; clients: string }
  /** When a text of the first client grew. */
  | { type: 'grew'; name: string; atMs: readonly number[] };
