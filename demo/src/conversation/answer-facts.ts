import type { AnswerSnapshot } from '@rivulet/client';
import type { AssistantMessage } from '@rivulet/client/chat';

/** The words of the badge: the cache that the text came from, or that a model is writing it. */
export function sourceLabel({ answer, ending }: AssistantMessage): string {
  switch (answer.source) {
    case 'browser-cache':
      return 'browser cache';
    case 'server-cache':
      return 'server cache';
    case 'model':
      return ending === undefined ? 'live' : '';
    default:
      return '';
  }
}

/** The provider and its model, such as "ollama · llama3.2". */
export function modelLabel({ provider = '', model = '' }: AnswerSnapshot): string {
  return [provider, model].filter((part) => part !== '').join(' · ');
}

/** Times, tokens and length, such as "first text 212 ms · total 1.9 s · 96 tokens · 57 tokens/s". */
export function figures({ answer, text }: AssistantMessage): string[] {
  const { timing, usage } = answer;
  const first = timing?.firstChunkMs === undefined ? '' : duration(timing.firstChunkMs);
  const total = timing === undefined ? '' : duration(timing.totalMs);
  const tokens = usage?.output_tokens;
  const speed = tokensPerSecond(answer);
  const parts = [
    first === '' || first === total ? '' : `first text ${first}`,
    total === '' ? '' : `total ${total}`,
    tokens ? `${count(tokens)} tokens` : '',
    speed === undefined ? '' : `${speed >= 10 ? Math.round(speed) : speed.toFixed(1)} tokens/s`,
    text === '' ? '' : `${count(text.length)} characters`,
  ];
  return parts.filter((part) => part !== '');
}

/** The reason for a further attempt, and the number of messages left out; empty without either. */
export function notes({
  attempt,
  restartReason,
  omittedMessages,
  provider = 'the model',
}: AnswerSnapshot): string {
  const why = restartReason === undefined ? '' : `: ${restartReason}`;
  const began = attempt > 1 ? `The answer began again from ${provider}${why}.` : '';
  const left =
    omittedMessages === 1
      ? 'The oldest message did not fit the model and was left out.'
      : `The ${omittedMessages} oldest messages did not fit the model and were left out.`;
  return [omittedMessages > 0 ? left : '', began].filter((part) => part !== '').join(' ');
}

/** Undefined where too little is known: a kept answer, or one that came at once. */
function tokensPerSecond({ source, timing, usage }: AnswerSnapshot): number | undefined {
  const tokens = usage?.output_tokens;
  if (source !== 'model' || tokens === undefined || timing?.firstChunkMs === undefined) {
    return undefined;
  }
  const seconds = (timing.totalMs - timing.firstChunkMs) / 1000;
  return seconds < 0.05 || tokens < 2 ? undefined : tokens / seconds;
}

function count(value: number): string {
  return value.toLocaleString('en');
}

function duration(ms: number): string {
  if (ms < 1) return 'under 1 ms';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
