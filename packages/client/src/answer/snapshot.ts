import { StreamError } from '@rivulet/protocol';
import { toolResult } from '../connection/log-segment.js';
import { type ReceivedAnswer, sourceOf, startEvent } from './receive.js';
import type {
  AnswerSnapshot,
  AnswerStatus,
  AnswerTiming,
  ResponseEvent,
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
    source: attempt && (info.isCached ? 'browser-cache' : sourceOf(attempt)),
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
    // `status` and `error` are of the same phase.
  } as AnswerSnapshot);
}

export function isFinal({ status }: Pick<AnswerSnapshot, 'status'>): boolean {
  return FINAL.has(status);
}

const FINAL = new Set<AnswerStatus>(['done', 'cancelled', 'failed', 'released']);

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
  const { source, provider, model, restartReason: reason, text, ahead } = snapshot;
  const { loading, thoughts } = snapshot;
  const events: ResponseEvent[] = [];
  if (source !== undefined && provider !== undefined && model !== undefined)
    events.push(startEvent({ ...snapshot, provider, model, reason }, source));
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
    const { status, result: _, error: __, textBefore: ___, approved, ...call } = use;
    const { callId, name } = call;
    events.push({ type: 'tool_call', ...call });
    if (approved !== undefined) events.push({ type: 'tool_decision', callId, name, approved });
    if (status === 'done' || status === 'failed') events.push(toolResult(use));
  }
  addText(text.length);
  return events;
}

function statusOf({ text, ahead, loading }: ReceivedAnswer, { status }: Phase): AnswerStatus {
  if (status === 'limited') return 'waiting';
  if (status !== 'open') return status;
  if (ahead > 0) return 'queued';
  if (loading !== undefined) return 'loading';
  return text === '' ? 'waiting' : 'streaming';
}
