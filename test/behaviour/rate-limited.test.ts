import { EVENT } from '@rivulet/protocol';
import { describe, expect, it } from 'vitest';
import { connect } from '../harness/plain-client.js';
import { startServer } from '../harness/rivulet.js';
import { sdk, snapshotWhen } from '../harness/sdk.js';
import { stage } from '../harness/stage.js';

/** A server of which Ada has asked as much as she may for two seconds. */
async function exhausted() {
  const { provider, nextCall, calls } = stage();
  const { url } = await startServer(provider, {
    authenticate: () => ({ principal: 'ada' }),
    env: { RATE_LIMIT_REQUESTS: '1', RATE_LIMIT_WINDOW_SECONDS: '4' },
  });
  await connect(url).emitWithAck(EVENT.start, { query: 'the one that she may' });
  await nextCall();
  return { client: sdk(url), nextCall, calls };
}

describe('a question too many', () => {
  it('fails as `rate_limited`, with the time for a countdown', async () => {
    const { client } = await exhausted();
    const answer = client.start({ query: 'q' });
    await expect(answer.result).rejects.toMatchObject({ code: 'rate_limited', retryable: true });
    const { retryAt = 0, error } = answer.getSnapshot();
    expect(error?.retryAfterMs).toBeGreaterThan(0);
    expect(retryAt).toBeGreaterThan(Date.now() - 4_000);
    expect(retryAt).toBeLessThanOrEqual(Date.now() + 4_000);
  });

  it('waits where it is told to, says until when, and is asked by itself', async () => {
    const { client, nextCall, calls } = await exhausted();
    const answer = client.start({ query: 'q', options: { onRateLimit: 'wait' } });
    const waiting = await snapshotWhen(answer, ({ retryAt }) => retryAt !== undefined);
    expect(waiting).toMatchObject({ status: 'waiting', text: '', error: undefined });
    expect(calls).toHaveLength(1);
    const call = await nextCall();
    expect(Date.now()).toBeGreaterThanOrEqual(waiting.retryAt! - 5);
    call.say('It ends.');
    call.finish();
    expect(await answer.result).toMatchObject({ text: 'It ends.', retryAt: undefined });
  });

  it('can be stopped while it waits, and is not asked then', async () => {
    const { client, nextCall, calls } = await exhausted();
    const options = { onRateLimit: 'wait' } as const;
    const answer = client.start({ query: 'q', options });
    await snapshotWhen(answer, ({ retryAt }) => retryAt !== undefined);
    answer.cancel();
    expect(await answer.result).toMatchObject({ status: 'cancelled', retryAt: undefined });
    client.start({ query: 'the next', options });
    await nextCall();
    expect(calls.map(({ prompt }) => JSON.stringify(prompt.messages))).toEqual([
      expect.stringContaining('the one that she may'),
      expect.stringContaining('the next'),
    ]);
  });
});
