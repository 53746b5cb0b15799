import { connect, newId } from './peer.js';
import { rule } from './reading.js';
import type { Terminal } from './shapes.js';

/** Questions that any model answers. Nothing is taken for granted about what it says. */
export const PLAIN = 'How does a reader come back after a cut connection?';

export interface Answered {
  /** The handshake of the browser that asked. */
  auth: { browser_id: string };
  id: string;
  query: string;
  /** The whole log. */
  units: readonly string[];
  text: string;
  terminal: Extract<Terminal, { type: 'stream_end' }>;
}

let asked: Promise<Answered> | undefined;

/** A stream that has ended, the same for all tests of a file. */
export function answered(): Promise<Answered> {
  asked ??= ask();
  return asked;
}

async function ask(): Promise<Answered> {
  const auth = { browser_id: newId() };
  const peer = await connect({ auth });
  const reading = await peer.start({ query: PLAIN });
  const terminal = await peer.inbox.ended(reading);
  rule(terminal.type === 'stream_end', `the model answers: ${JSON.stringify(terminal)}`);
  return { auth, id: reading.id, query: PLAIN, units: reading.units, text: reading.text, terminal };
}
