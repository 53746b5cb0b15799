import type { StreamError } from '@rivulet/protocol';
import type { EntrySink } from '../entry.js';
import type { Preemption } from '../preemption.js';
import type { GenerateRequest } from '../request.js';
import { createLog, type Log } from './log.js';
import type { Stream } from './stream.js';

/** Writes the entries of one response to `sink`. It ends with a terminal entry and does not reject. */
export type Generate = (
  request: GenerateRequest,
  sink: EntrySink,
  options: {
    signal: AbortSignal;
    preemption: Preemption;
    /** Called before an answer that was shown begins again. @returns false if it ends instead. */
    mayRestart(failure: StreamError): boolean;
  },
) => Promise<void>;

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
  const { signal } = controller;
  let bytes = log.bytes;

  function setAhead(ahead: number | undefined): void {
    if (ahead === generation.ahead) return;
    generation.ahead = ahead;
    for (const stream of streams) stream.setAhead(ahead);
  }

  const sink: EntrySink = {
    write(entry) {
      if (entry.type === 'thought' || entry.type === 'loading' || signal.aborted) return undefined;
      if (entry.type === 'queued') {
        setAhead(entry.ahead);
        return undefined;
      }
      if (generation.ahead !== undefined) setAhead(undefined);
      log.append(entry);
      if (log.bytes === bytes) return undefined;
      bytes = log.bytes;
      onGrowth();
      return undefined;
    },
    readText: () => textOf(log),
  };
  try {
    await generate(request, sink, { signal, preemption, mayRestart });
  } catch {
    // `Generate` promises not to reject; readers must receive an end all the same.
  }
  log.append({
    type: 'error',
    code: 'internal',
    message: 'unable to finish the answer: the server failed',
  });
}

/** The text since the newest `start` entry. */
function textOf(log: Log): string {
  let text = '';
  for (let offset = log.start?.offset ?? 0; ;) {
    const frame = log.read(offset, Infinity);
    if (frame === undefined) return text;
    if (frame.entry.type === 'text') text += frame.entry.text;
    offset += frame.size;
  }
}
