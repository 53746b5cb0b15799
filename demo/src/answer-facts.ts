import type { AnswerSnapshot } from '@rivulet/client';

/** What the badge says about where the text came from. */
export function sourceLabel({ source, model, provider }: AnswerSnapshot): string {
  switch (source) {
    case 'browser-cache':
      return 'browser cache';
    case 'server-cache':
      return 'server cache';
    default:
      return model || provider || 'model';
  }
}

/** The times and the length, such as "first text 212 ms · 1.9 s · 1,240 characters". */
export function figures({ timing, text }: AnswerSnapshot): string {
  const first = timing?.firstChunkMs === undefined ? '' : duration(timing.firstChunkMs);
  const total = timing === undefined ? '' : duration(timing.totalMs);
  const parts = [
    first === '' || first === total ? '' : `first text ${first}`,
    total,
    text === '' ? '' : `${text.length.toLocaleString('en')} characters`,
  ];
  return parts.filter((part) => part !== '').join(' · ');
}

/**
 * Why the text began again, why it is not whole, or why it has not been asked for yet; empty when there
 * is nothing to say.
 */
export function note(snapshot: AnswerSnapshot): string {
  const { status, attempt, restartReason, finishReason, retryAt, omittedMessages } = snapshot;
  if (status === 'waiting' && retryAt !== undefined) {
    const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
    return `Too many questions in a short time. This one is sent by itself in ${seconds} s.`;
  }
  const began =
    attempt > 1 ? `The answer began again${restartReason ? `: ${restartReason}` : ''}.` : '';
  const cut = finishReason === 'length' ? 'The answer ends here: it reached its length limit.' : '';
  const left =
    omittedMessages === 1
      ? 'The oldest message did not fit the model and was left out.'
      : `The ${omittedMessages} oldest messages did not fit the model and were left out.`;
  const omitted = omittedMessages > 0 ? left : '';
  return [omitted, began, cut].filter((part) => part !== '').join(' ');
}

/** What was looked up for the answer, such as "searched the docs for “offset”"; empty for nothing. */
export function toolsNote({ tools }: AnswerSnapshot): string {
  const said = tools.map(({ name, arguments: args, status }) => {
    const query = (args as { query?: unknown } | null)?.query;
    const did =
      name === 'search_docs' ? `searched the docs for “${String(query)}”` : `used ${name}`;
    return status === 'failed' ? `${did}, in vain` : did;
  });
  return [...new Set(said)].join(' · ');
}

function duration(ms: number): string {
  if (ms < 1) return 'under 1 ms';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
