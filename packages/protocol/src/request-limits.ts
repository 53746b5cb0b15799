/** The part of `LIMITS` that a client needs, in a file of its own so that a page loads no more. */
export const REQUEST_LIMITS = {
  queryUnits: 32_768,
  /** Requests that a handshake may carry. */
  handshakeRequests: 64,
  /** Of a query in the list of streams. */
  listedQueryUnits: 256,
  /** Bytes of one message as Socket.IO frames it; a larger one ends the connection. */
  messageBytes: 1_048_576,
} as const;
