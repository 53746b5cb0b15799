import { StreamError } from '@rivulet/protocol';
import type {
  Answer,
  ClientTool,
  ResponseEvent,
  ToolCallEvent,
  ToolReply,
  ToolResultEvent,
  ToolUse,
} from '../types.js';
import { isForPage, sendReplies } from './calls.js';

type Start = Extract<ResponseEvent, { type: 'start' }>;
type End = Extract<ResponseEvent, { type: 'end' }>;

/**
 * A change of an answer, for a protocol in which each text and each thought is opened
 * and closed. `part` names them within an attempt; at most one is open at a time.
 */
export type Step =
  | Start
  /** The text of attempt `replaced` is void. `tools` are the calls and results so far, which stay valid. */
  | { type: 'restart'; start: Start; replaced: number; tools: readonly ToolStep[] }
  | { type: 'open' | 'close'; kind: 'text' | 'thought'; part: string }
  | { type: 'delta'; kind: 'text' | 'thought'; part: string; text: string }
  | ToolStep
  /** The place in the queue, or the model that is being loaded, has changed. */
  | Extract<ResponseEvent, { type: 'queued' | 'loading' }>
  /** The answer goes on once the page has answered these calls. It is the last step. */
  | { type: 'paused'; waiting: readonly ToolUse[] }
  | End
  /** Someone cancelled the answer. */
  | { type: 'stopped' };

/** A call or a result, with what is known of the call. */
export interface ToolStep {
  type: 'tool';
  event: ToolCallEvent | ToolResultEvent;
  /** The kind of reply that the page gives to the call; absent if the server runs it, or a tool of the client does. */
  reply: ToolUse['awaits'];
  /** True while the call waits for that reply. */
  isWaiting: boolean;
  /** True if a user has refused the call. */
  isDenied: boolean;
}

export interface Reading {
  /** The tools that the client runs, or only declares. */
  tools?: readonly ClientTool[] | undefined;
  /** The replies to the calls at which an earlier reading paused. It goes on after these calls. */
  replies?: ReadonlyMap<string, ToolReply> | undefined;
  /** The attempt that the earlier reading showed. If the answer has begun again since, a restart comes first. */
  attempt?: number | undefined;
}

/**
 * All steps of an answer, from the start of its attempt on. It pauses where the answer waits for the page. The
 * handle is released when the caller leaves the loop.
 *
 * @throws {StreamError} when the answer failed, after the last step.
 */
export async function* stepsOf(
  answer: Answer,
  { tools: clientTools, replies = new Map(), attempt: shownAttempt }: Reading = {},
): AsyncGenerator<Step, void, undefined> {
  const tools: (ToolCallEvent | ToolResultEvent)[] = [];
  /** Calls that the server runs. Their results come after those of the calls that wait. */
  const held: ToolCallEvent[] = [];
  const unseen = new Set(replies.keys());
  let attempt: number | undefined;
  let missedRestart: Start | undefined;
  /** Thoughts of the attempt of `missedRestart`. They come before its tools. */
  let newThoughts = '';
  let parts = 0;
  let part = '';
  let open: 'text' | 'thought' | undefined;

  function* close(): Generator<Step> {
    if (open !== undefined) yield { type: 'close', kind: open, part };
    open = undefined;
  }

  function* tell(kind: 'text' | 'thought', text: string): Generator<Step> {
    if (open !== kind) {
      yield* close();
      parts += 1;
      // Unlike `parts`, the number of tools does not depend on where the reading began.
      part = `${tools.length}.${parts}`;
      open = kind;
      yield { type: 'open', kind, part };
    }
    yield { type: 'delta', kind, part, text };
  }

  const restart = (start: Start, replaced: number): Step => ({
    type: 'restart',
    start,
    replaced,
    tools: tools.map(toolStep),
  });

  const usesOfPage = (): ToolUse[] =>
    answer.getSnapshot().tools.filter((use) => isForPage(use, clientTools));

  function toolStep(event: ToolCallEvent | ToolResultEvent): ToolStep {
    const use = usesOfPage().find(({ callId }) => callId === event.callId);
    return {
      type: 'tool',
      event,
      reply: use?.awaits,
      isWaiting: use?.status === 'awaiting' && !replies.has(event.callId),
      isDenied: use?.approved === false,
    };
  }

  /** @returns true if a call of an earlier step waits for the page. */
  const hasWaiting = (): boolean =>
    usesOfPage().some(
      ({ callId, status }) => status === 'awaiting' && tools.some((tool) => tool.callId === callId),
    );

  /** @returns the calls that wait for the page, if the answer does not go on before they are answered. */
  function waitingCalls(): ToolUse[] {
    const uses = answer.getSnapshot().tools;
    const first = uses.find(({ status }) => status === 'awaiting' || status === 'running');
    const waiting = usesOfPage().filter(
      ({ callId, status }) => status === 'awaiting' && !replies.has(callId),
    );
    const isNext = waiting.some(({ callId }) => callId === first?.callId);
    // The snapshot may be ahead of the events.
    const isTold = (type: 'tool_call' | 'tool_result', { callId }: ToolUse): boolean =>
      tools.some((tool) => tool.type === type && tool.callId === callId);
    const isShown =
      waiting.every((use) => isTold('tool_call', use)) &&
      uses.every(
        (use) => (use.status !== 'done' && use.status !== 'failed') || isTold('tool_result', use),
      );
    return isNext && isShown ? waiting : [];
  }

  try {
    if (replies.size > 0) await sendReplies(answer, replies);
    for await (const event of answer) {
      if (event.type === 'start') {
        yield* close();
        yield attempt === undefined ? event : restart(event, attempt);
        attempt = event.attempt;
        const isMissed = unseen.size > 0 && attempt > (shownAttempt ?? attempt);
        missedRestart = isMissed ? event : undefined;
        continue;
      }
      const isSeen = unseen.size > 0;
      switch (event.type) {
        case 'queued':
        case 'loading':
          yield event;
          break;
        case 'tool_decision':
          break;
        case 'text':
        case 'thought': {
          const { type: kind, text } = event;
          if (!isSeen) yield* tell(kind, text);
          else if (missedRestart !== undefined && kind === 'thought') newThoughts += text;
          break;
        }
        case 'tool_call':
        case 'tool_result': {
          yield* close();
          if (isSeen) {
            tools.push(event);
            unseen.delete(event.callId);
            if (unseen.size > 0 || missedRestart === undefined) break;
            yield restart(missedRestart, shownAttempt ?? missedRestart.attempt);
            if (newThoughts !== '') yield* tell('thought', newThoughts);
            break;
          }
          const use = toolStep(event);
          if (event.type === 'tool_call' && use.reply === undefined && hasWaiting()) {
            held.push(event);
            break;
          }
          if (event.type === 'tool_result') {
            const at = held.findIndex(({ callId }) => callId === event.callId);
            for (const call of held.splice(0, at + 1)) {
              tools.push(call);
              yield toolStep(call);
            }
          }
          tools.push(event);
          yield use;
          const waiting = waitingCalls();
          if (waiting.length > 0) return yield { type: 'paused', waiting };
          break;
        }
        case 'end':
          yield* close();
          yield event;
      }
    }
  } catch (error) {
    yield* close();
    if (!(error instanceof StreamError && error.code === 'cancelled')) throw error;
    yield { type: 'stopped' };
  } finally {
    answer.release();
  }
}
