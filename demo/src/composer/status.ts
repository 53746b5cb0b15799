import type { AnswerSnapshot, ConnectionState } from '@rivulet/client';
import type { AssistantMessage, ChatSnapshot } from '@rivulet/client/chat';
import { needsDecision, toolText } from '../conversation/tools-view.js';

/** The state of the answer under way and of the connection, in words. */
export interface Status {
  /** `busy`: the answer goes on; `slow`: it takes longer than usual; `lost`: there is no connection. */
  readonly tone: 'busy' | 'slow' | 'lost';
  /** These words change only with the state, so that a screen reader announces each state once. */
  readonly text: string;
  /** Words that change with time, such as the seconds so far. */
  readonly detail: string;
}

export interface StatusInput {
  readonly chat: ChatSnapshot;
  readonly connection: ConnectionState;
  /** The running answer was cut off from the server, and is complete up to here again. */
  readonly isCaughtUp: boolean;
  /** The time at which the running answer was asked, or seen first, in milliseconds since 1970. */
  readonly runningSince: number;
  /** Milliseconds since 1970. */
  readonly now: number;
}

const SILENT_MS = 8_000;
/** Seconds are shown only after this time. */
const BRIEF_MS = 2_000;

/** @returns the answer under way that the chat shows. */
export function runningAnswer({ messages }: ChatSnapshot): AssistantMessage | undefined {
  const found = messages.findLast(
    (message) => message.role === 'assistant' && message.ending === undefined,
  );
  return found?.role === 'assistant' ? found : undefined;
}

/** @returns undefined if the page waits for nothing. */
export function createStatusText(situation: StatusInput): Status | undefined {
  const running = runningAnswer(situation.chat);
  const isWaiting = situation.chat.messages.some(
    (message) => message.role === 'user' && message.status === 'queued',
  );
  const lost = lostConnection(situation.connection, running !== undefined, isWaiting);
  if (lost !== undefined) return lost;
  if (running !== undefined) return runningStatus(running, situation);
  if (situation.chat.status === 'loading') return busy('Opening the chat');
  if (situation.connection.status === 'connecting') return busy('Connecting');
  return undefined;
}

function lostConnection(
  connection: ConnectionState,
  isRunning: boolean,
  isWaiting: boolean,
): Status | undefined {
  const then = isRunning
    ? 'The text so far stays, and the answer goes on from here.'
    : isWaiting
      ? 'Your question waits and is sent automatically.'
      : 'What this browser keeps can still be read.';
  if (connection.status === 'refused') {
    const reason = connection.error.message;
    return { tone: 'lost', text: `The server refuses this page: ${reason}`, detail: '' };
  }
  if (connection.status !== 'reconnecting') return undefined;
  if (connection.reason === 'offline') {
    return { tone: 'lost', text: `You are offline. ${then}`, detail: '' };
  }
  const detail = connection.attempts > 1 ? `attempt ${connection.attempts}` : '';
  return { tone: 'lost', text: `Connection lost, reconnecting. ${then}`, detail };
}

function runningStatus(message: AssistantMessage, situation: StatusInput): Status {
  const { answer } = message;
  const { now, runningSince, isCaughtUp } = situation;
  const detail = elapsed(now - runningSince);
  const undecided = answer.tools.find(needsDecision);
  if (undecided !== undefined && answer.status !== 'reconnecting') {
    return busy(`Waiting for your decision: ${toolText(undecided)}`, detail);
  }
  switch (answer.status) {
    case 'reconnecting':
      return busy('Receiving the missed text', detail);
    case 'queued': {
      const ahead = answer.ahead ?? 1;
      const before = ahead === 1 ? '1 question is' : `${ahead} questions are`;
      return busy(`In the queue: ${before} before yours`, detail);
    }
    case 'loading':
      return busy(`Loading ${answer.loading?.model ?? 'the model'} into memory`, detail);
    case 'waiting':
      return waitingStatus(answer, message.text, situation, detail);
    default: {
      const silentMs = now - (message.lastTextAt ?? runningSince);
      if (silentMs >= SILENT_MS) return silent(silentMs);
      return busy(isCaughtUp ? 'Reconnected; generating' : 'Generating', detail);
    }
  }
}

function waitingStatus(
  answer: AnswerSnapshot,
  text: string,
  { now, runningSince, isCaughtUp }: StatusInput,
  detail: string,
): Status {
  if (answer.retryAt !== undefined) {
    const seconds = Math.max(0, Math.ceil((answer.retryAt - now) / 1000));
    const words = 'Too many questions in a short time; this one is sent automatically';
    return { tone: 'slow', text: words, detail: `in ${seconds} s` };
  }
  const tool = answer.tools.findLast(({ status }) => status === 'running');
  if (tool !== undefined) return busy(toolText(tool), detail);
  if (answer.thoughts !== '') return busy('Thinking', detail);
  if (now - runningSince >= SILENT_MS) return silent(now - runningSince);
  if (isCaughtUp) return busy('Reconnected; waiting for text', detail);
  return busy(text === '' ? 'Waiting for the first words' : 'Continuing the answer', detail);
}

function busy(words: string, detail = ''): Status {
  return { tone: 'busy', text: words, detail };
}

function silent(ms: number): Status {
  const words = 'No text for a while; the connection works, but the model sends nothing';
  return { tone: 'slow', text: words, detail: `no text for ${Math.floor(ms / 1000)} s` };
}

function elapsed(ms: number): string {
  return ms < BRIEF_MS ? '' : `${Math.floor(ms / 1000)} s`;
}
