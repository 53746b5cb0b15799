import type { Usage } from '@rivulet/protocol';
import type { EndedStream, OnEnd, StreamQuestion, UsedTool } from '../hooks.js';
import type { Logger } from '../observe/logger.js';
import { readableError } from '../readable-error.js';
import { HOOK_TIMEOUT_MS, HookTimeoutError } from './hook-timeout.js';
import { type Log, slicesOf } from './log.js';

interface OnEndCall {
  readonly principal: string;
  readonly settled: Promise<void>;
}

const BYTES_PER_UNIT = 2;
/** The bytes of a report without its texts. */
const CALL_BYTES = 1_024;

/** The calls of `onEnd` that have not returned. */
export class OnEndCalls {
  readonly #onEnd: OnEnd;
  readonly #logger: Logger;
  readonly #calls = new Set<OnEndCall>();
  #bytes = 0;

  constructor(onEnd: OnEnd, logger: Logger) {
    this.#onEnd = onEnd;
    this.#logger = logger;
  }

  /** The bytes of the texts, tools and questions that pending calls of `onEnd` hold. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Calls `onEnd` in a later microtask. `requestBytes` is the size of the question in bytes. */
  add(ended: EndedStream, principal: string, requestBytes: number): void {
    const { text, tools } = ended;
    const units = text.length + (tools.length > 0 ? JSON.stringify(tools).length : 0);
    const bytes = CALL_BYTES + BYTES_PER_UNIT * units + requestBytes;
    this.#bytes += bytes;
    const settled = this.#call(ended).finally(() => {
      this.#calls.delete(report);
      this.#bytes -= bytes;
    });
    const report: OnEndCall = { principal, settled };
    this.#calls.add(report);
  }

  /** Resolves when the pending calls have returned: all of them, or those for one principal. */
  async settled(principal?: string): Promise<void> {
    const reports = [...this.#calls].filter(
      (report) => principal === undefined || report.principal === principal,
    );
    await Promise.all(reports.map((report) => report.settled));
  }

  async #call(ended: EndedStream): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new HookTimeoutError()), HOOK_TIMEOUT_MS).unref();
    });
    try {
      // `onEnd` does not run while a stream is being ended, because it could end the same stream again.
      const called = Promise.resolve(ended).then(this.#onEnd);
      await Promise.race([called, late]);
    } catch (thrown) {
      const cause = readableError(thrown);
      const reason = cause instanceof HookTimeoutError ? 'timeout' : 'failed';
      this.#logger.error({ event: 'LLM_HOOK_FAILED', hook: 'onEnd', reason, err: cause });
    } finally {
      clearTimeout(timer);
    }
  }
}

/**
 * @returns the argument of `onEnd` for a stream whose log has a terminal entry. `usage` is known so far, and `totalMs`
 * is the age of the stream.
 */
export function describeEnd(
  question: StreamQuestion,
  log: Log,
  usage: Usage,
  totalMs: number,
): EndedStream {
  const tools = new Map<string, UsedTool>();
  const ended: EndedStream = {
    ...question,
    text: '',
    tools: [],
    usage: { ...usage },
    outcome: 'internal',
    timing: { total_ms: totalMs },
  };
  let text = '';
  for (const { entry } of slicesOf(log)) {
    switch (entry.type) {
      case 'start': {
        const { attempt: number, source, provider, model } = entry;
        ended.attempt = { number, source, provider, model };
        text = '';
        break;
      }
      case 'text':
        text += entry.text;
        break;
      case 'thought':
      case 'tool_decision':
        break;
      case 'tool_call': {
        const { callId, name, arguments: args } = entry;
        tools.set(callId, { callId, name, arguments: args });
        break;
      }
      case 'tool_result': {
        const { type: _, ...outcome } = entry;
        const call = tools.get(outcome.callId);
        if (call !== undefined) tools.set(outcome.callId, { ...call, ...outcome });
        break;
      }
      case 'end':
        ended.usage = entry.usage;
        ended.outcome = entry.finishReason;
        ended.timing = entry.timing;
        break;
      case 'error':
        ended.outcome = entry.code;
    }
  }
  return { ...ended, text, tools: [...tools.values()] };
}
