import { StreamError } from '@rivulet/protocol';
import type { ReceivedAnswer } from './receive.js';
import type {
  AnswerSnapshot,
  AnswerSource,
  AnswerStatus,
  AnswerTiming,
  ResponseEvent,
  ToolResultEvent,
  ToolUse,
} from '../types.js';

/** The state of an answer apart from its content. */
export type Phase =
  | { status: 'open' }
  | { status: 'limited'; retryAt: number }
  | { status: 'reconnecting' }
  | { status: 'done'; timing: AnswerTiming }
  | { status: 'cancelled'; timing: AnswerTiming }
  | { status: 'failed'; timing: AnswerTiming; error: StreamError; retryAt: number | undefined };

export interface AnswerInfo {
  id: string;
  query: string;
  /** True if the text comes from the response cache of this browser. */
  isCached: boolean;
  /** The id of the request in the logs of the server. */
  requestId?: string | undefined;
}

export function createSnapshot(
  info: AnswerInfo,
  received: ReceivedAnswer,
  phase: Phase,
): AnswerSnapshot {
  const { attempt, terminal } = received;
  // The end of the log does not count until the text is verified.
  const end = phase.status === 'done' && terminal?.type === 'end' ? terminal : undefined;
  const status = statusOf(received, phase);
  return Object.freeze({
    id: info.id,
    query: info.query,
    status,
    ahead: status === 'queued' ? received.ahead : undefined,
    loading: status === 'loading' ? received.loading : undefined,
    text: received.text,
    thoughts: received.thoughts,
    tools: received.tools,
    attempt: attempt?.attempt ?? 0,
    source: sourceOf(info, received),
    provider: attempt?.provider,
    model: attempt?.model,
    restartReason: attempt?.reason,
    omittedMessages: attempt?.omittedMessages ?? 0,
    requestId: info.requestId,
    finishReason: end?.finishReason,
    usage: end?.usage,
    retryAt: 'retryAt' in phase ? phase.retryAt : undefined,
    timing: 'timing' in phase ? phase.timing : undefined,
    error: phase.status === 'failed' ? phase.error : undefined,
  });
}

export function isFinal({ status }: Pick<AnswerSnapshot, 'status'>): boolean {
  return (
    status === 'done' || status === 'cancelled' || status === 'failed' || status === 'released'
  );
}

export function isSameSnapshot(a: AnswerSnapshot, b: AnswerSnapshot): boolean {
  // Most snapshots differ in their text, so it is compared first.
  if (a.text !== b.text) return false;
  return (Object.keys(a) as (keyof AnswerSnapshot)[]).every((key) => a[key] === b[key]);
}

/** @returns the error of an answer that failed or was cancelled; otherwise undefined. */
export function failureOf({ status, error, text }: AnswerSnapshot): StreamError | undefined {
  if (status === 'failed') return error;
  if (status !== 'cancelled') return undefined;
  return new StreamError('cancelled', 'unable to finish the answer: it was cancelled', {
    partialText: text,
  });
}

/** @returns events that lead to this snapshot, for a late subscriber. */
export function replayEvents(snapshot: AnswerSnapshot): ResponseEvent[] {
  const { attempt, source, provider, model, restartReason, text, ahead } = snapshot;
  const { loading, omittedMessages, thoughts } = snapshot;
  const events: ResponseEvent[] = [];
  if (source !== undefined && provider !== undefined && model !== undefined) {
    const reason = restartReason !== undefined && { reason: restartReason };
    const omitted = omittedMessages > 0 && { omittedMessages };
    events.push({ type: 'start', attempt, source, provider, model, ...reason, ...omitted });
  }
  if (thoughts !== '') events.push({ type: 'thought', text: thoughts });
  events.push(...textAndToolEvents(text, snapshot.tools));
  if (ahead !== undefined) events.push({ type: 'queued', ahead });
  if (loading !== undefined) events.push({ type: 'loading', ...loading });
  const { finishReason, usage, timing } = snapshot;
  if (finishReason !== undefined && usage !== undefined && timing !== undefined) {
    events.push({ type: 'end', finishReason, usage, timing });
  }
  return events;
}

/** @returns the text in pieces, with the events of each tool call at its position. */
function textAndToolEvents(text: string, tools: readonly ToolUse[]): ResponseEvent[] {
  const events: ResponseEvent[] = [];
  let emittedUnits = 0;
  const addText = (end: number): void => {
    if (end > emittedUnits) events.push({ type: 'text', text: text.slice(emittedUnits, end) });
    emittedUnits = Math.max(emittedUnits, end);
  };
  for (const use of tools) {
    addText(use.textBefore);
    const { status: _, result: __, error: ___, textBefore: ____, approved, ...call } = use;
    const { callId, name } = call;
    events.push({ type: 'tool_call', ...call });
    if (approved !== undefined) events.push({ type: 'tool_decision', callId, name, approved });
    events.push(...resultOf(use));
  }
  addText(text.length);
  return events;
}

function resultOf({ callId, name, status, result, error }: ToolUse): ToolResultEvent[] {
  if (status === 'running' || status === 'awaiting') return [];
  return [{ type: 'tool_result', callId, name, ...(error === undefined ? { result } : { error }) }];
}

function statusOf({ text, ahead, loading }: ReceivedAnswer, { status }: Phase): AnswerStatus {
  if (status === 'limited') return 'waiting';
  if (status !== 'open') return status;
  if (ahead > 0) return 'queued';
  if (loading !== undefined) return 'loading';
  return text === '' ? 'waiting' : 'streaming';
}

function sourceOf({ isCached }: AnswerInfo, { attempt }: ReceivedAnswer): AnswerSource | undefined {
  if (attempt === undefined) return undefined;
  if (isCached) return 'browser-cache';
  return attempt.source === 'cache' ? 'server-cache' : 'model';
}
