import {
  defineTool,
  type StreamedEntry,
  type GenerateRequest,
  type LlmServiceOptions,
  type Tool,
  type ToolResult,
} from '@rivulet/server';
import * as z from 'zod';
import { entriesOf, serviceOf } from './service.js';
import { type Call, stage } from './stage.js';

/** A question that takes a tool. */
export const ASK: GenerateRequest = { query: 'How high is it?', principal: 'me' };

export type ServiceOptions = Partial<LlmServiceOptions>;

interface HeldRun {
  args: { of: string };
  signal: AbortSignal;
  give(value: unknown): void;
}

/** A tool whose every run the test ends. */
export function held(name: string): { tool: Tool; runs: HeldRun[] } {
  const started: HeldRun[] = [];
  const tool = defineTool({
    name,
    description: 'Looks something up.',
    parameters: z.object({ of: z.string() }),
    execute: (args, { signal }) =>
      new Promise((resolve) => void started.push({ args, signal, give: resolve })),
  });
  return { tool, runs: started };
}

/** A tool that runs at once. */
export function runs(
  name: string,
  execute: (args: { of: string }) => unknown,
  { needsApproval = false } = {},
): Tool {
  return defineTool({
    name,
    description: 'Looks something up.',
    parameters: z.object({ of: z.string() }),
    needsApproval,
    execute,
  });
}

/** Asks, and has the tools called that are named, each `of` its own name. */
export async function calling(
  tools: readonly Tool[],
  names: readonly string[],
  more: ServiceOptions = {},
) {
  const { provider, nextCall, calls } = stage();
  const controller = new AbortController();
  const { signal } = controller;
  const entries = entriesOf(
    serviceOf(provider, { tools, ...more }).generateResponseStream(ASK, { signal }),
  );
  const first = await nextCall();
  for (const name of names) first.callTool(name, { of: name });
  first.finish();
  return { entries, nextCall, calls, controller };
}

export function answer(call: Call, text = 'High.'): void {
  call.say(text);
  call.finish();
}

export function toolEntries<T extends StreamedEntry>(entries: readonly T[]): T[] {
  return entries.filter(({ type }) => type === 'tool_call' || type === 'tool_result');
}

/** The previous calls in the request to the model. */
export function resultsTold({ prompt }: Call): readonly ToolResult[] {
  const last = prompt.messages.at(-1);
  return last?.role === 'tool' ? last.results : [];
}
