import { type OnEnd, type Prepare, StreamError } from '@rivulet/server';

/** A day's tokens for each user, of which one answer may use `perAnswer` at most. */
export function tokenQuota({ perDay, perAnswer }: { perDay: number; perAnswer: number }) {
  const used = new Map<string, number>(); // a table of your database, where there are several servers
  const reserved = new Set<string>();
  let day = today();

  const prepare: Prepare = ({ principal, streamId }) => {
    if (day !== today()) {
      used.clear();
      reserved.clear();
      day = today();
    }
    const before = used.get(principal) ?? 0;
    if (before + perAnswer > perDay) {
      const retryAfterMs = (day + 1) * DAY_MS - Date.now();
      const message = 'unable to answer: your tokens for today are used up; ask again tomorrow';
      throw new StreamError('rate_limited', message, { retryAfterMs });
    }
    // Reserved, or a user could ask many questions at the same time.
    used.set(principal, before + perAnswer);
    reserved.add(`${principal} ${streamId}`);
    return { options: { max_tokens: perAnswer } };
  };

  const onEnd: OnEnd = (ended) => {
    const { principal, streamId, request, text, tools, usage, outcome, attempt } = ended;
    // Not reserved: `prepare` refused the stream, or it was yesterday's.
    if (!reserved.delete(`${principal} ${streamId}`)) return;
    let spent = 0;
    if (attempt?.source !== 'cache') {
      const { input_tokens: input = 0, output_tokens: output = 0 } = usage;
      spent = input + output;
      // The usage lacks the call in which the answer broke off, and some models count no tokens.
      const isBroken = outcome === 'cancelled' || (attempt && !FINISHED.has(outcome));
      if (isBroken || (attempt && spent === 0))
        spent += estimate(JSON.stringify([request, tools]) + text);
    }
    used.set(principal, (used.get(principal) ?? 0) - perAnswer + spent);
  };

  return { prepare, onEnd };
}

const FINISHED: ReadonlySet<string> = new Set(['stop', 'length', 'other']);
const DAY_MS = 86_400_000;
const today = () => Math.floor(Date.now() / DAY_MS);
/** About four characters of English are a token. */
const estimate = (text: string) => Math.ceil(text.length / 4);
