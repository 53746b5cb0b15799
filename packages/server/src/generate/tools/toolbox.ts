import type { ToolCallLimits } from './run-call.js';
import type { Tool } from './tool.js';

export interface ToolLimits extends ToolCallLimits {
  /** The limit of rounds of tool calls. After them, the model has to answer without tools. */
  maxToolRounds: number;
  /** The limit of calls that run in one round. The others fail. */
  maxToolCallsPerRound: number;
  /** The milliseconds for which a call may wait for a client. */
  toolReplyTimeoutMs: number;
}

/** The tools of the server, and their limits. */
export interface Toolbox {
  readonly tools: readonly Tool[];
  readonly limits: ToolLimits;
}

/** @throws {TypeError} two tools have the same name. */
export function createToolbox(tools: readonly Tool[], limits: ToolLimits): Toolbox {
  const names = tools.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new TypeError(
      `unable to offer the tools: two have the name ${JSON.stringify(twice)}; rename one of them`,
    );
  }
  return { tools, limits };
}
