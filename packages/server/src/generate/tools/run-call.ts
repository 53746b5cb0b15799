import { addAbortListener } from 'node:events';
import type { ToolCall, ToolOutcome } from '../../providers/provider.js';
import { readableError } from '../../readable-error.js';
import { type Tool, type ToolContext, ToolError } from './tool.js';

export interface ToolCallLimits {
  /** The limit of one call, in milliseconds. */
  toolTimeoutMs: number;
  /** The UTF-16 units of one result as JSON. A longer result is truncated. */
  maxToolResultUnits: number;
}

/** Called for each failed call with the reason. `error` is the value that the tool threw, if any. */
export type OnToolFailure = (
  tool: string | undefined,
  reason: 'unknown_tool' | 'refused' | 'failed' | 'timeout' | 'no_reply',
  error?: unknown,
) => void;

/**
 * Runs one call. @returns its result, or an error message for the model.
 * @throws `signal.reason` as soon as `signal` aborts, even if the tool ignores the signal; nothing else.
 */
export async function runCall(
  { name, arguments: args }: ToolCall,
  tools: readonly Tool[],
  { toolTimeoutMs, maxToolResultUnits }: ToolCallLimits,
  { signal, ...asker }: ToolContext,
  onFailure: OnToolFailure,
): Promise<ToolOutcome> {
  signal.throwIfAborted();
  const tool = tools.find((candidate) => candidate.name === name);
  if (tool === undefined) {
    onFailure(undefined, 'unknown_tool');
    const names = tools.map((known) => known.name).join(', ');
    return { error: `there is no tool of this name; there is: ${names}` };
  }

  try {
    // The tool receives a copy, so that its changes to the arguments do not appear in the log.
    const value = await inTime(signal, toolTimeoutMs, async (own) =>
      tool.call(structuredClone(args), { ...asker, signal: own }),
    );
    return toResult(value, maxToolResultUnits);
  } catch (thrown) {
    signal.throwIfAborted();
    const error = readableError(thrown);
    if (error instanceof ToolTimeoutError) {
      onFailure(name, 'timeout');
      return { error: error.message };
    }
    if (error instanceof ToolError) {
      onFailure(name, 'refused');
      return { error: cut(error.message, maxToolResultUnits) };
    }
    onFailure(name, 'failed', error);
    return { error: 'the tool failed' };
  }
}

/**
 * Runs code of a tool. Its signal aborts with `signal`, and when the time is over.
 *
 * @throws `signal.reason` as soon as `signal` aborts. @throws {ToolTimeoutError} the time is over.
 */
export async function inTime<T>(
  signal: AbortSignal,
  timeoutMs: number,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const link = addAbortListener(signal, () => controller.abort(signal.reason));
  const timeout = new ToolTimeoutError(`the tool did not finish within ${timeoutMs} ms`);
  const timer = setTimeout(() => controller.abort(timeout), timeoutMs);
  try {
    return await Promise.race([whenAborted(controller.signal), run(controller.signal)]);
  } catch (thrown) {
    // A tool may throw an error of its own when it is aborted.
    controller.signal.throwIfAborted();
    throw thrown;
  } finally {
    clearTimeout(timer);
    link[Symbol.dispose]();
    controller.abort();
  }
}

export class ToolTimeoutError extends Error {}

function whenAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    addAbortListener(signal, () => reject(signal.reason as Error));
  });
}

/** Converts a result to plain JSON, so that it shares no object with the tool and can be sent on the wire. */
export function toResult(value: unknown, maxUnits: number): ToolOutcome {
  const json = JSON.stringify(value ?? null) ?? 'null';
  if (json.length <= maxUnits) return { result: JSON.parse(json) as unknown };
  return { result: cut(typeof value === 'string' ? value : json, maxUnits) };
}

function cut(text: string, maxUnits: number): string {
  if (text.length <= maxUnits) return text;
  const end = text.slice(0, maxUnits).replace(/[\uD800-\uDBFF]$/, '');
  return `${end} … (cut: it has ${text.length} characters)`;
}
