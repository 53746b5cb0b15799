import { StreamError } from '@rivulet/protocol';
import type { ModelCall } from '../observe/model-call.js';
import { errorType } from './error-type.js';
import type { Delta } from '../providers/provider.js';

/** One call of a provider, measured by what it yields. */
export class MeasuredCall {
  readonly #call: ModelCall;
  // So it stays when the caller leaves the loop.
  #failure: string | undefined = 'cancelled';

  constructor(call: ModelCall) {
    this.#call = call;
  }

  heard(delta: Delta): void {
    if (delta.type === 'finish') {
      this.#call.finish(delta.usage, delta.model);
      this.#failure = undefined;
    } else if (delta.type !== 'omitted') {
      this.#call.chunk(delta.type === 'tool_call' ? 0 : delta.text.length);
    }
  }

  /** `signal` is the one that the provider was given. */
  failed(error: unknown, signal: AbortSignal): void {
    this.#failure = signal.aborted ? reasonOf(signal) : errorType(error);
  }

  /** However it ended; to be called once. */
  end(): void {
    this.#call.end(this.#failure);
  }
}

/** A deadline aborts with an error of its own, a caller with anything. */
function reasonOf({ reason }: AbortSignal): string {
  return reason instanceof StreamError ? reason.code : 'cancelled';
}
