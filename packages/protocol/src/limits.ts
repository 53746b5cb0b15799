/** The largest of what a client may send. A server may allow less. "Units" are UTF-16 code units. */
export const LIMITS = {
  queryUnits: 32_768,
  contextMessages: 200,
  contextUnits: 131_072,
  idUnits: 128,
  intentParameters: 32,
  intentValueUnits: 1_024,
  browserIdUnitsMin: 16,
  tokenUnits: 16_384,
  /** Requests that a handshake may carry. */
  handshakeRequests: 64,
  /** Of a query in the list of streams. */
  listedQueryUnits: 256,
  /** Bytes of one message as Socket.IO frames it; a larger one ends the connection. */
  messageBytes: 1_048_576,
  /** Offset units that a reader may ask to have under way. */
  windowUnits: 1_048_576,
} as const;
