import { REQUEST_LIMITS } from './request-limits.js';

const OTHER_LIMITS = {
  contextMessages: 200,
  contextUnits: 131_072,
  idUnits: 128,
  intentParameters: 32,
  intentValueUnits: 1_024,
  browserIdUnitsMin: 16,
  tokenUnits: 16_384,
  stopSequences: 4,
  stopUnits: 64,
  clientTools: 32,
  toolNameUnits: 64,
  toolDescriptionUnits: 1_024,
  /** Of the JSON of a client tool's parameters. */
  toolSchemaUnits: 16_384,
  /** Of the JSON of what a client's tool returned. */
  toolResultUnits: 131_072,
  toolErrorUnits: 1_024,
  /** Of the JSON of a schema for the answer. */
  responseSchemaUnits: 32_768,
  /** Of one message with a thought. */
  thoughtUnits: 4_096,
  /** Offset units that a reader may ask to have under way. */
  windowUnits: 1_048_576,
} as const;

/** The largest of what a client may send. A server may allow less. "Units" are UTF-16 code units. */
export const LIMITS: typeof REQUEST_LIMITS & typeof OTHER_LIMITS = {
  ...REQUEST_LIMITS,
  ...OTHER_LIMITS,
};
