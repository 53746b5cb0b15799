import type { ClientTool, Schema } from './types.js';

export interface ClientToolDefinition<T> extends Omit<ClientTool, 'parameters' | 'execute'> {
  /** The schema of the arguments, which are an object. `T` is what it validates to. */
  parameters: Schema<T>;
  /** As `execute` of `ClientTool`, with the type of `parameters`. */
  execute?: ((args: NoInfer<T>, context: { signal: AbortSignal }) => unknown) | undefined;
}

/**
 * Creates a tool that the page runs, whose `execute` takes what `parameters` validates to. A JSON Schema has no type of
 * its own: give it as `defineTool<{ city: string }>({ … })`.
 */
export function defineTool<T>({ execute, ...tool }: ClientToolDefinition<T>): ClientTool {
  return { ...tool, ...(execute && { execute }) };
}
