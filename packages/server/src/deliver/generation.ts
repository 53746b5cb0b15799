import type { StreamError } from '@rivulet/protocol';
import type { StreamedEntry } from '../entry.js';
import type { Preemption } from '../preemption.js';
import type { GenerateRequest } from '../request.js';
import { createLog, type Log } from './log.js';
import type { Stream } from './stream.js';

/** Makes the entries of one response; it ends with a terminal entry and does not throw. */
export type Generate = (
  request: GenerateRequest,
  signal: AbortSignal,
  preemption: Preemption,
  mayRestart: (failure: StreamError) => boolean,
) => AsyncIterable<StreamedEntry>;

/** One run of `Generate`, and the streams that read along. */
export interface Generation {
  readonly log: Log;
  readonly controller: AbortController;
  /** Streams that it still matters to; the last one to be cancelled ends it. */
  readonly streams: Set<Stream>;
  ahead: number | undefined;
  /** It is preemptible while all its streams are detached. */
  readonly preemption: Preemption;
  /** To be called when a stream was added or removed, or when the `isDetached` of one has changed. */
  updatePreemption(): void;
  /** A request is held for as long as it is being answered. */
  readonly requestBytes: number;
}

/** `cancel` ends a stream, and aborts the generation when it was the last one. */
export function createGeneration(
  requestBytes: number,
  cancel: (stream: Stream) => void,
): Generation {
  const streams = new Set<Stream>();
  const listeners = new Set<() => void>();
  let isPreemptible = false;

  return {
    log: createLog(),
    controller: new AbortController(),
    streams,
    ahead: undefined,
    preemption: {
      get isPreemptible() {
        return isPreemptible;
      },
      onChange(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      preempt() {
        for (const stream of streams) cancel(stream);
      },
    },
    updatePreemption() {
      const wasPreemptible = isPreemptible;
      isPreemptible = streams.size > 0 && [...streams].every((stream) => stream.isDetached);
      if (isPreemptible === wasPreemptible) return;
      for (const listener of listeners) listener();
    },
    requestBytes,
  };
}

/**
 * Runs `generate` until its log has an end or its controller aborts. `onGrowth` is called whenever the
 * log has taken more memory. `mayRestart` is called before a further attempt, and refuses it.
 */
export async function runGeneration(
  generation: Generation,
  generate: Generate,
  request: GenerateRequest,
  onGrowth: () => void,
  mayRestart: (failure: StreamError) => boolean,
): Promise<void> {
  const { log, controller, streams, preemption } = generation;
  let bytes = log.bytes;
  try {
    for await (const entry of generate(request, controller.signal, preemption, mayRestart)) {
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
      onGrowth();
      if (controller.signal.aborted) break;
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
