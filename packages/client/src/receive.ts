import type {
  FinishReason,
  ShortChunk,
  Source,
  StreamMessage,
  Timing,
  Usage,
  WireError,
} from '@rivulet/protocol';
import { ERRORS, EVENT } from '@rivulet/protocol';

/** What one message adds to a log; see PROTOCOL.md, "Offsets". */
export interface Frame {
  offset: number;
  /** Offset units that it covers. */
  size: number;
  entry:
    | ({ type: 'start' } & Attempt)
    | { type: 'text'; text: string }
    | ({ type: 'end' } & End)
    | { type: 'error'; error: WireError };
}

export interface Attempt {
  attempt: number;
  source: Source;
  provider: string;
  model: string;
  reason: string | undefined;
}

export interface End {
  finishReason: FinishReason;
  totalLength: number;
  digest: string;
  usage: Usage;
  timing: Timing;
}

/** All that was received of one stream. */
export interface Received {
  /** Everything below it is here. */
  readonly offset: number;
  /** The text of the attempt under way. */
  readonly text: string;
  readonly attempt: Attempt | undefined;
  /** How many are ahead in a queue; 0 when it is in none. */
  readonly ahead: number;
  readonly terminal: Extract<Frame['entry'], { type: 'end' | 'error' }> | undefined;
}

export const NOTHING: Received = {
  offset: 0,
  text: '',
  attempt: undefined,
  ahead: 0,
  terminal: undefined,
};

/**
 * Adds a frame: drops what is here already, takes the new part of an overlap. Where something between
 * is missing it is a `gap`, and nothing changes.
 */
export function receive(state: Received, { offset, size, entry }: Frame): Received | 'gap' {
  if (offset > state.offset) return 'gap';
  if (offset + size <= state.offset) return state;
  const next = { ...state, offset: offset + size, ahead: 0 };
  switch (entry.type) {
    case 'start':
      return { ...next, text: '', attempt: entry };
    case 'text':
      return { ...next, text: state.text + entry.text.slice(state.offset - offset) };
    case 'end':
    case 'error':
      return { ...next, terminal: entry };
  }
}

/** The place in a queue. The next frame ends the wait. */
export function receiveAhead(state: Received, ahead: number): Received {
  return { ...state, ahead };
}

/** A named message as a frame; undefined for one that has no offset, and so no place in the log. */
export function decode(message: StreamMessage): Frame | undefined {
  if (message.type === EVENT.queued || message.offset === undefined) return undefined;
  const { offset } = message;
  switch (message.type) {
    case EVENT.start: {
      const { attempt, source, provider, model, reason } = message;
      return {
        offset,
        size: 1,
        entry: { type: 'start', attempt, source, provider, model, reason },
      };
    }
    case EVENT.chunk:
      return textFrame(offset, message.data);
    case EVENT.end: {
      const { finish_reason: finishReason, total_length: totalLength, ...rest } = message;
      const { digest, usage, timing } = rest;
      return {
        offset,
        size: 1,
        entry: { type: 'end', finishReason, totalLength, digest, usage, timing },
      };
    }
    case EVENT.error:
      return { offset, size: 1, entry: { type: 'error', error: knownError(message) } };
  }
}

/** A newer server may have codes that this client does not know; what it says of retrying counts. */
export function knownError(error: WireError): WireError {
  return Object.hasOwn(ERRORS, error.code) ? error : { ...error, code: 'internal' };
}

export function decodeShort([, offset, data]: ShortChunk): Frame {
  return textFrame(offset, data);
}

function textFrame(offset: number, text: string): Frame {
  return { offset, size: text.length, entry: { type: 'text', text } };
}
