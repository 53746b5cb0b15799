import { addAbortListener } from 'node:events';
import type { ToolCall, ToolOutcome } from '../../providers/provider.js';
import { type Tool, type ToolContext, ToolError } from './tool.js';

export interface ToolCallLimits {
  /** The time that one call may take. */
  toolTimeoutMs: number;
  /** UTF-16 units of one result as JSON; a longer result is cut. */
  maxToolResultUnits: number;
}

/** Told of each call that failed, and why; `error` is what the tool threw, if it did. */
export type OnToolFailure = (
  tool: string | undefined,
  reason: 'unknown_tool' | 'refused' | 'failed' | 'timeout' | 'no_reply',
  error?: unknown,
) => void;

/**
 * Runs one call and gives what the model is to hear of it, whatever the tool does. Throws only
 * `signal.reason`, at once when `signal` aborts, also where the tool does not listen to it.
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

  const controller = new AbortController();
  const link = addAbortListener(signal, () => controller.abort(signal.reason));
  const timer = setTimeout(() => controller.abort(new TimeUp()), toolTimeoutMs);
  try {
    const context = { ...asker, signal: controller.signal };
    // A copy, since what the tool does to its arguments must not show in the log.
    const running = tool.call(structuredClone(args), context);
    const value = await Promise.race([whenAborted(controller.signal), running]);
    return toResult(value, maxToolResultUnits);
  } catch (error) {
    signal.throwIfAborted();
    if (controller.signal.aborted) {
      onFailure(name, 'timeout');
      return { error: `the tool did not finish within ${toolTimeoutMs} ms` };
    }
    if (error instanceof ToolError) {
      onFailure(name, 'refused');
      return { error: cut(error.message, maxToolResultUnits) };
    }
    onFailure(name, 'failed', error);
    return { error: 'the tool failed' };
  } finally {
    clearTimeout(timer);
    link[Symbol.dispose]();
    controller.abort();
  }
}

class TimeUp extends Error {}

function whenAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    addAbortListener(signal, () => reject(signal.reason as Error));
  });
}

/** The result as plain JSON, so that nothing of the tool's own is shared and any wire can carry it. */
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
