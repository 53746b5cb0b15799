import type { ToolCallLimits } from './run-call.js';
import type { Tool } from './tool.js';

export interface ToolLimits extends ToolCallLimits {
  /** Rounds of tool calls; after them, the model is asked to answer without tools. */
  maxToolRounds: number;
  /** Calls that run in one round; the others fail. */
  maxToolCallsPerRound: number;
  /** The time that a call may wait for a client. */
  toolReplyTimeoutMs: number;
}

/** The tools that a model is offered, and how far it may go with them. */
export interface Toolbox {
  readonly tools: readonly Tool[];
  readonly limits: ToolLimits;
}

/** Throws a `TypeError` when two tools have one name. */
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
