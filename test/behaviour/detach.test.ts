import { describe, expect, it } from 'vitest';
import { snapshotWhen, staged } from '../harness/sdk.js';

const ASK = { query: 'What is a delta?' };

describe('an answer that is left', () => {
  it('is ended by the server after its grace', async () => {
    const { client, nextCall } = await staged({ limits: { detachTimeoutMs: 10 } });
    const answer = client.start(ASK);
    const call = await nextCall();
    answer.release();
    await expect(call.aborted).resolves.toBeUndefined();
  });

  it('is read on within the grace, with all that came meanwhile', async () => {
    const { client, calls, nextCall } = await staged();
    const answer = client.start(ASK);
    const call = await nextCall();
    call.say('Where');
    await snapshotWhen(answer, ({ text }) => text === 'Where');
    answer.release();
    answer.release();
    call.say(' it');
    const again = client.resume(answer.id);
    expect(again.getSnapshot().text).toBe('Where');
    call.say(' ends.');
    call.finish();
    expect(await again.result).toMatchObject({ status: 'done', text: 'Where it ends.' });
    expect(await answer.result).toMatchObject({ status: 'released', text: 'Where' });
    expect(calls).toHaveLength(1);
  });

  it('is not asked at all when it is left at once, and is asked once when someone comes back', async () => {
    const { client, calls, nextCall } = await staged();
    const left = client.start(ASK);
    left.release();
    const other = client.start({ query: 'other' });
    const call = await nextCall();
    call.say('Here.');
    call.finish();
    await other.result;
    expect(calls).toHaveLength(1);

    const again = client.resume(left.id);
    const second = await nextCall();
    second.say('There.');
    second.finish();
    expect(await again.result).toMatchObject({ status: 'done' });
    expect(calls).toHaveLength(2);
  });

  it('is cancelled for who comes back too late', async () => {
    const { client, nextCall } = await staged({ limits: { detachTimeoutMs: 0 } });
    const answer = client.start(ASK);
    const call = await nextCall();
    call.say('Where');
    await snapshotWhen(answer, ({ text }) => text === 'Where');
    answer.release();
    await call.aborted;
    const again = client.resume(answer.id);
    expect(await again.result).toMatchObject({ status: 'cancelled', text: 'Where' });
  });
});
