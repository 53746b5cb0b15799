import type { Logger } from '../../observe/logger.js';
import type { CallBounds, OnToolFailure } from './run-call.js';
import type { Tool } from './tool.js';

export interface ToolLimits extends CallBounds {
  /** Turns in which the model may call tools; after them it is asked to answer without. */
  maxSteps: number;
  /** Calls of one turn that are run; the others end with an error. */
  maxCallsPerStep: number;
}

const DEFAULT_LIMITS: ToolLimits = {
  maxSteps: 8,
  maxCallsPerStep: 16,
  timeoutMs: 15_000,
  maxResultUnits: 16_384,
};

/** The tools that a model is offered, and how far it may go with them. */
export interface Toolbox {
  readonly tools: readonly Tool[];
  readonly limits: ToolLimits;
  readonly onFailure: OnToolFailure;
}

/** Throws a `TypeError` when two tools have one name. */
export function createToolbox(
  tools: readonly Tool[],
  limits: Partial<ToolLimits>,
  logger: Logger,
): Toolbox {
  const names = tools.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new TypeError(`unable to offer the tools: two are called ${JSON.stringify(twice)}`);
  }
  return {
    tools,
    limits: { ...DEFAULT_LIMITS, ...limits },
    onFailure(tool, reason, error) {
      logger.warn({
        event: 'LLM_TOOL_FAILED',
        tool,
        reason,
        ...(error !== undefined && { err: error }),
      });
    },
  };
}
