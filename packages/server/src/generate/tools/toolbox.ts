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
      const thrown = error === undefined ? undefined : whereThrown(error);
      logger.warn({ event: 'LLM_TOOL_FAILED', tool, reason, thrown });
    },
  };
}

/** The name of an error and its stack; its message may quote what was asked. */
function whereThrown(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  const frames = error.stack?.match(/^ +at .+$/gm) ?? [];
  return [error.name, ...frames].join('\n');
}
