/** The compared stacks. `recovery` is Socket.IO with its connection state recovery. */
export type Stack = 'rivulet' | 'socket.io' | 'recovery';

export interface LoadPlan {
  stack: Stack;
  clients: number;
  /** For each client. */
  tokens: number;
  everyMs: number;
  /** Connections that are reset in all, evenly over the run. */
  drops: number;
}

export interface ToServer {
  type: 'usage';
}

export type FromServer =
  | { type: 'listening'; url: string }
  | { type: 'usage'; cpuSeconds: number; rssMb: number; drops: number };

export interface ToClients {
  url: string;
}

/** Is said once all clients have the last token, or get none any more. */
export interface FromClients {
  type: 'result';
  result: LoadResult;
}

export interface LoadResult {
  delivered: number;
  lost: number;
  doubled: number;
  /** Tokens that came after a later one. */
  reordered: number;
  /** Milliseconds from a broken connection to the next token, p50 and p99. */
  outageMs: [number, number];
  /** Milliseconds from a connection that is there again to its next token, p50 and p99. */
  replayMs: [number, number];
}
