import { StreamError } from '@rivulet/protocol';
import type { StreamMetrics } from '../observe/metrics.js';
import { errorType } from './error-type.js';
import type { Delta, Provider } from './providers/provider.js';

/** The same provider, and each of its calls measured. */
export function measured(provider: Provider, metrics: StreamMetrics): Provider {
  const { name, model } = provider;
  return {
    ...provider,
    name,
    model,
    async *stream(prompt, signal): AsyncGenerator<Delta, void, undefined> {
      const call = metrics.beginModelCall(name, model);
      // So it stays when the caller leaves the loop.
      let failure: string | undefined = 'cancelled';
      try {
        for await (const delta of provider.stream(prompt, signal)) {
          if (delta.type === 'finish') {
            call.finish(delta.usage, delta.model);
            failure = undefined;
          } else {
            call.chunk(delta.type === 'tool_call' ? 0 : delta.text.length);
          }
          yield delta;
        }
        if (failure !== undefined) failure = 'truncated';
      } catch (error) {
        failure = signal.aborted ? reasonOf(signal) : errorType(error);
        throw error;
      } finally {
        call.end(failure);
      }
    },
  };
}

/** A deadline aborts with an error of its own, a caller with anything. */
function reasonOf({ reason }: AbortSignal): string {
  return reason instanceof StreamError ? reason.code : 'cancelled';
}
