import { EventEmitter, on, once } from 'node:events';
import type { Usage } from '@rivulet/protocol';
import type { Delta, Prompt, Provider, RawMessage } from '@rivulet/server';

/** One call of the provider, played by the test. */
export interface Call {
  readonly prompt: Prompt;
  /** Resolves when the caller gave the call up. */
  readonly aborted: Promise<void>;
  say(text: string): void;
  think(text: string): void;
  /** Calls a tool, which runs once the turn has finished. */
  callTool(name: string, args: unknown): void;
  finish(reason?: 'stop' | 'length' | 'other', raw?: RawMessage, usage?: Usage): void;
  fail(error: Error): void;
}

export interface Stage {
  readonly provider: Provider;
  /** Calls so far. */
  readonly calls: readonly Call[];
  /** The next call that was not given out yet. */
  nextCall(): Promise<Call>;
}

/** A provider whose every delta is sent by the test, so that no test waits for time. */
export function stage(name = 'stage', model = 'script'): Stage {
  const events = new EventEmitter();
  const calls: Call[] = [];
  let given = 0;

  return {
    calls,
    async nextCall() {
      while (given >= calls.length) await once(events, 'call');
      return calls[given++]!;
    },
    provider: {
      name,
      model,
      canContinue: true,
      hasJsonMode: true,
      async *stream(prompt, signal) {
        signal.throwIfAborted();
        const script = new EventEmitter();
        const deltas = on(script, 'delta', { signal });
        const play = (delta: Delta | { type: 'fail'; error: Error }) => script.emit('delta', delta);
        calls.push({
          prompt,
          aborted: new Promise((resolve) => signal.addEventListener('abort', () => resolve())),
          say: (text) => play({ type: 'text', text }),
          think: (text) => play({ type: 'thought', text }),
          callTool: (tool, args) => play({ type: 'tool_call', name: tool, arguments: args }),
          finish: (reason = 'stop', raw, usage = {}) =>
            play({ type: 'finish', reason, usage, ...(raw && { raw }) }),
          fail: (error) => play({ type: 'fail', error }),
        });
        events.emit('call');
        try {
          for await (const [delta] of deltas) {
            if (delta.type === 'fail') throw delta.error;
            yield delta;
          }
        } catch (error) {
          signal.throwIfAborted();
          throw error;
        }
      },
    },
  };
}
