import type { StreamedEntry } from '../entry.js';
import type { GenerateRequest } from '../request.js';
import { createLog, type Log } from './log.js';
import type { Stream } from './stream.js';

/** Makes the entries of one response; it ends with a terminal entry and does not throw. */
export type Generate = (
  request: GenerateRequest,
  signal: AbortSignal,
) => AsyncIterable<StreamedEntry>;

/** One run of `Generate`, and the streams that read along. */
export interface Generation {
  readonly log: Log;
  readonly controller: AbortController;
  /** Streams that it still matters to; the last one to be cancelled ends it. */
  readonly streams: Set<Stream>;
  ahead: number | undefined;
  /** A request is held for as long as it is being answered. */
  readonly requestBytes: number;
}

export function createGeneration(requestBytes: number): Generation {
  return {
    log: createLog(),
    controller: new AbortController(),
    streams: new Set(),
    ahead: undefined,
    requestBytes,
  };
}

/**
 * Runs `generate` until its log has an end. `hasRoom` is called whenever the log has taken more memory;
 * without room the log ends as `overloaded`.
 */
export async function runGeneration(
  generation: Generation,
  generate: Generate,
  request: GenerateRequest,
  hasRoom: () => boolean,
): Promise<void> {
  const { log, controller, streams } = generation;
  let bytes = log.bytes;
  try {
    for await (const entry of generate(request, controller.signal)) {
      if (controller.signal.aborted) break;
      if (entry.type === 'thought') continue;
      const ahead = entry.type === 'queued' ? entry.ahead : undefined;
      if (ahead !== generation.ahead) {
        generation.ahead = ahead;
        for (const stream of streams) stream.setAhead(ahead);
      }
      if (entry.type === 'queued') continue;
      if (!log.append(entry) || log.done) break;
      if (log.bytes === bytes) continue;
      bytes = log.bytes;
      if (hasRoom()) continue;
      log.append({
        type: 'error',
        code: 'overloaded',
        message: 'unable to finish the answer: the server is full; ask again soon',
        retryAfterMs: 1_000,
      });
      break;
    }
  } catch {
    // `Generate` promises not to throw; a reader must hear of an end all the same.
  }
  log.append({
    type: 'error',
    code: 'internal',
    message: 'unable to finish the answer: the server failed',
  });
}
