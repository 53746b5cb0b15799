import { StreamError } from '@rivulet/protocol';
import type { Received } from './receive.js';
import type {
  AnswerSnapshot,
  AnswerSource,
  AnswerStatus,
  AnswerTiming,
  ResponseEvent,
  ToolResultEvent,
  ToolUse,
} from '../types.js';

/** How an answer stands, apart from what was received of it. */
export type Phase =
  | { status: 'open' }
  | { status: 'limited'; retryAt: number }
  | { status: 'reconnecting' }
  | { status: 'done'; timing: AnswerTiming }
  | { status: 'cancelled'; timing: AnswerTiming }
  | { status: 'failed'; timing: AnswerTiming; error: StreamError; retryAt: number | undefined };

export interface Asked {
  id: string;
  query: string;
  /** Whether the text was kept in this browser. */
  kept: boolean;
  /** As the server named the stream in its log. */
  requestId?: string | undefined;
}

export function snapshotOf(asked: Asked, received: Received, phase: Phase): AnswerSnapshot {
  const { attempt, terminal } = received;
  // Until the text is verified it has not ended, whatever the server said.
  const end = phase.status === 'done' && terminal?.type === 'end' ? terminal : undefined;
  const status = statusOf(received, phase);
  return Object.freeze({
    id: asked.id,
    query: asked.query,
    status,
    ahead: status === 'queued' ? received.ahead : undefined,
    loading: status === 'loading' ? received.loading : undefined,
    text: received.text,
    thoughts: received.thoughts,
    tools: received.tools,
    attempt: attempt?.attempt ?? 0,
    source: sourceOf(asked, received),
    provider: attempt?.provider,
    model: attempt?.model,
    restartReason: attempt?.reason,
    omittedMessages: attempt?.omittedMessages ?? 0,
    requestId: asked.requestId,
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

export function isSame(a: AnswerSnapshot, b: AnswerSnapshot): boolean {
  // Of most pairs it is the text that differs.
  if (a.text !== b.text) return false;
  return (Object.keys(a) as (keyof AnswerSnapshot)[]).every((key) => a[key] === b[key]);
}

/** Why an answer did not complete; undefined unless it was cancelled or failed. */
export function failureOf({ status, error, text }: AnswerSnapshot): StreamError | undefined {
  if (status === 'failed') return error;
  if (status !== 'cancelled') return undefined;
  return new StreamError('cancelled', 'unable to finish the answer: it was cancelled', {
    partialText: text,
  });
}

/** What a subscriber that comes now has missed. */
export function eventsOf(snapshot: AnswerSnapshot): ResponseEvent[] {
  const { attempt, source, provider, model, restartReason, text, ahead } = snapshot;
  const { loading, omittedMessages, thoughts } = snapshot;
  const events: ResponseEvent[] = [];
  if (source !== undefined && provider !== undefined && model !== undefined) {
    const reason = restartReason !== undefined && { reason: restartReason };
    const omitted = omittedMessages > 0 && { omittedMessages };
    events.push({ type: 'start', attempt, source, provider, model, ...reason, ...omitted });
  }
  if (thoughts !== '') events.push({ type: 'thought', text: thoughts });
  events.push(...toolsInText(text, snapshot.tools));
  if (ahead !== undefined) events.push({ type: 'queued', ahead });
  if (loading !== undefined) events.push({ type: 'loading', ...loading });
  const { finishReason, usage, timing } = snapshot;
  if (finishReason !== undefined && usage !== undefined && timing !== undefined) {
    events.push({ type: 'end', finishReason, usage, timing });
  }
  return events;
}

/** The text, parted where tools were called. */
function toolsInText(text: string, tools: readonly ToolUse[]): ResponseEvent[] {
  const events: ResponseEvent[] = [];
  let told = 0;
  const tellText = (end: number): void => {
    if (end > told) events.push({ type: 'text', text: text.slice(told, end) });
    told = Math.max(told, end);
  };
  for (const use of tools) {
    tellText(use.textBefore);
    const { status: _, result: __, error: ___, textBefore: ____, approved, ...call } = use;
    const { callId, name } = call;
    events.push({ type: 'tool_call', ...call });
    if (approved !== undefined) events.push({ type: 'tool_decision', callId, name, approved });
    events.push(...resultOf(use));
  }
  tellText(text.length);
  return events;
}

function resultOf({ callId, name, status, result, error }: ToolUse): ToolResultEvent[] {
  if (status === 'running' || status === 'awaiting') return [];
  return [{ type: 'tool_result', callId, name, ...(error === undefined ? { result } : { error }) }];
}

function statusOf({ text, ahead, loading }: Received, { status }: Phase): AnswerStatus {
  if (status === 'limited') return 'waiting';
  if (status !== 'open') return status;
  if (ahead > 0) return 'queued';
  if (loading !== undefined) return 'loading';
  return text === '' ? 'waiting' : 'streaming';
}

function sourceOf({ kept }: Asked, { attempt }: Received): AnswerSource | undefined {
  if (attempt === undefined) return undefined;
  if (kept) return 'browser-cache';
  return attempt.source === 'cache' ? 'server-cache' : 'model';
}
