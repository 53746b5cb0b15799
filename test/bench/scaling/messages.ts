/** The requests to the process of a server. */
export interface ToServer {
  type: 'usage';
}

export type FromServer =
  | { type: 'listening'; url: string }
  /** CPU time since the start, and tokens that its provider has said. */
  | { type: 'usage'; cpuMs: number; tokens: number };

/** Streams at the same time; each is asked at one server, and read there or at another. */
export interface Reading {
  type: 'read';
  streams: number;
  tokens: number;
  everyMs: number;
  /** Streams are asked at these in turn. */
  askUrls: readonly string[];
  /** If given, a second client reads each stream at this server, and its times count. */
  readUrl?: string;
}

export type ToReaders = Reading | { type: 'ask'; url: string; times: number };

export type FromReaders =
  /** Milliseconds from the provider's token to the reader; streams whose text was wrong. */
  | { type: 'read'; p50: number; p99: number; wrong: number }
  /** Milliseconds from a question to its first text, one after another. */
  | { type: 'asked'; p50: number; p99: number };
