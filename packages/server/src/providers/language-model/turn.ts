import type { FinishReason, Usage } from '@rivulet/protocol';
import { providerError, truncated } from '../failure.js';
import type { Delta, Prompt } from '../provider.js';
import { explainErrorPart } from './errors.js';
import type { Metadata, StreamPart, TurnPart, Warning } from './model.js';
import type { ModelRef } from './prompt.js';

export interface TurnOptions {
  modelRef: ModelRef;
  prompt: Prompt;
  /** Called with the type of a part that is left out of the answer. */
  onIgnored(type: string): void;
  onWarning(warning: Warning): void;
}

/** Converts the parts of one turn. */
export interface TurnReader {
  /** True if a part of the answer has arrived. */
  readonly hasBegun: boolean;
  /** @returns undefined for a part that is not in the answer. The last delta is `finish`. */
  read(part: StreamPart): Delta | undefined;
}

const WORKING: Delta = { type: 'working' };

export function createTurnReader({
  modelRef,
  prompt,
  onIgnored,
  onWarning,
}: TurnOptions): TurnReader {
  const { name, model } = modelRef;
  /** The parts are kept only if tools may be called, because only then the model receives its turn again. */
  const isKept = (prompt.tools ?? []).length > 0;
  const parts: TurnPart[] = [];
  const open = new Map<string, TurnPart & { text: string }>();
  let hasBegun = false;
  let hasCalled = false;
  let version: string | undefined;

  /** Appends a piece to the kept text or thought, with the provider's metadata. */
  function keep(
    type: 'text' | 'reasoning',
    id: string,
    text: string,
    metadata: Metadata | undefined,
  ): void {
    const key = `${type} ${id}`;
    let part = open.get(key);
    if (part === undefined) {
      part = { type, text: '' };
      open.set(key, part);
      parts.push(part);
    }
    part.text += text;
    if (metadata !== undefined) part.providerOptions = { ...part.providerOptions, ...metadata };
  }

  function readText(
    type: 'text' | 'reasoning',
    part: Extract<StreamPart, { id: string }>,
  ): Delta | undefined {
    const text = 'delta' in part ? (part.delta ?? '') : '';
    if (isKept) keep(type, part.id, text, part.providerMetadata);
    if (part.type === `${type}-end`) open.delete(`${type} ${part.id}`);
    if (text === '') return undefined;
    hasBegun = true;
    return { type: type === 'text' ? 'text' : 'thought', text };
  }

  function readCall(part: Extract<StreamPart, { type: 'tool-call' }>): Delta {
    const { toolCallId, toolName, input, providerMetadata } = part;
    hasBegun = true;
    // The provider has run this call. The part with its result is also ignored.
    if (part.providerExecuted === true) {
      onIgnored('provider-executed tool-call');
      return WORKING;
    }
    hasCalled = true;
    const args = parseInput(input);
    if (isKept) {
      parts.push({
        type: 'tool-call',
        toolCallId,
        toolName,
        input: args,
        ...(providerMetadata && { providerOptions: providerMetadata }),
      });
    }
    return { type: 'tool_call', providerId: toolCallId, name: toolName, arguments: args };
  }

  function finish(part: Extract<StreamPart, { type: 'finish' }>): Delta {
    const kept = parts.filter((each) => each.type === 'tool-call' || isWorthKeeping(each));
    return {
      type: 'finish',
      reason: toReason(part.finishReason, name),
      usage: toUsage(part.usage),
      ...(version !== undefined && { model: version }),
      ...(hasCalled && isKept && { raw: { provider: name, model, parts: kept } }),
    };
  }

  return {
    get hasBegun() {
      return hasBegun;
    },
    read(part) {
      switch (part.type) {
        case 'text-start':
        case 'text-delta':
        case 'text-end':
          return readText('text', part);
        case 'reasoning-start':
        case 'reasoning-delta':
        case 'reasoning-end':
          return readText('reasoning', part);
        case 'tool-input-start':
        case 'tool-input-delta':
        case 'tool-input-end':
          hasBegun = true;
          return WORKING;
        case 'tool-call':
          return readCall(part);
        case 'finish':
          return finish(part);
        case 'error':
          throw explainErrorPart(part.error, name, prompt);
        case 'stream-start':
          part.warnings?.forEach(onWarning);
          return undefined;
        case 'response-metadata':
          version = part.modelId ?? version;
          return undefined;
        default:
          return ignore(part);
      }
    },
  };

  /** Reports a part that is left out. `ping` and `raw` are never in the answer. */
  function ignore({ type }: { type: string }): Delta | undefined {
    if (type === 'ping' || type === 'raw') return undefined;
    onIgnored(type);
    return WORKING;
  }
}

function isWorthKeeping(part: TurnPart & { text?: string }): boolean {
  return part.text !== '' || part.providerOptions !== undefined;
}

/** @returns the text itself if it is not JSON. The tool loop then reports the problem to the model. */
function parseInput(input: unknown): unknown {
  if (typeof input !== 'string') return input ?? {};
  if (input.trim() === '') return {};
  try {
    return JSON.parse(input);
  } catch {
    return input;
  }
}

type Finish = Extract<StreamPart, { type: 'finish' }>['finishReason'];

function toReason(given: Finish, name: string): FinishReason {
  const { unified, raw } = typeof given === 'string' ? { unified: given, raw: given } : given;
  switch (unified) {
    case 'stop':
    case 'tool-calls':
      return 'stop';
    case 'length':
      return 'length';
    case 'content-filter':
      throw providerError('content_filter', `the safety rules of ${name} refuse the answer`);
    case 'error':
      throw providerError('unavailable', `${name} ended its answer with an error`);
    case 'unknown':
    case 'interrupted':
      throw truncated(name, `it ended with the reason "${unified}"`);
    default:
      // The packages set `other` if the response had no reason.
      if (raw === undefined) throw truncated(name, 'its stream ended without a finish reason');
      return 'other';
  }
}

function toUsage(usage: Extract<StreamPart, { type: 'finish' }>['usage']): Usage {
  const input = toCount(usage?.inputTokens);
  const output = toCount(usage?.outputTokens);
  return {
    ...(input !== undefined && { input_tokens: input }),
    ...(output !== undefined && { output_tokens: output }),
  };
}

function toCount(count: unknown): number | undefined {
  const total =
    typeof count === 'object' && count !== null && 'total' in count ? count.total : count;
  return typeof total === 'number' && Number.isFinite(total) ? total : undefined;
}
