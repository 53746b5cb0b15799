import { EVENT } from '@rivulet/protocol';
import { describe, expect, it } from 'vitest';
import { queryOf } from '../harness/ask.js';
import { connect, next } from '../harness/plain-client.js';
import { providerConfigOf } from '../harness/providers.js';
import { startRedis } from '../harness/redis.js';
import { startServer } from '../harness/rivulet.js';
import { stage } from '../harness/stage.js';

const AUTH = { browser_id: 'the-browser-of-the-first-visitor' };
const WINDOW = { window: 10_000 };
/** Nothing ends by time here. */
const LIMITS = { limits: { detachTimeoutMs: 1_000_000 } };

/** Two servers with one slot each, and a stream that `a` generates and readers `r1` at `a`, `r2` at `b` read. */
async function readTwice() {
  const redis = await startRedis();
  const start = async () => {
    const played = stage('model');
    const providers = [providerConfigOf(played.provider, { concurrency: 1 })] as const;
    const options = { ...LIMITS, providers, redis: { url: redis.url } };
    return { ...played, url: (await startServer(played.provider, options)).url };
  };
  const [a, b] = [await start(), await start()];
  const [one, two] = [connect(a.url, AUTH), connect(b.url, AUTH)];
  const ask = { query: 'read', stream_id: 'A', ...WINDOW };
  await one.emitWithAck(EVENT.start, { ...ask, reader_id: 'r1' });
  const call = await a.nextCall();
  await two.emitWithAck(EVENT.resume, { stream_id: 'A', offset: 0, ...WINDOW, reader_id: 'r2' });
  const detach = (socket: typeof one, reader: string) =>
    socket.emitWithAck(EVENT.detach, { stream_id: 'A', reader_id: reader });
  /** Asks the server whose only slot the stream has. */
  const wait = async () => {
    const other = connect(a.url, AUTH);
    const queued = next(other, EVENT.queued);
    await other.emitWithAck(EVENT.start, { query: 'other', stream_id: 'B', ...WINDOW });
    await queued;
  };
  return { a, one, two, call, detach, wait };
}

describe('a stream that its reader at the process that generates it has left', () => {
  it('keeps its slot while it is read through another process, though a question waits', async () => {
    const { a, one, two, call, detach, wait } = await readTwice();
    await detach(one, 'r1');
    await wait();
    const text = next(two, EVENT.shortChunk);
    call.say('Still here.');
    await text;
    expect(a.calls.map(queryOf)).toEqual(['read']);
  });

  it('gives its slot up at once when its last reader has left, too', async () => {
    const { a, one, two, call, detach, wait } = await readTwice();
    await detach(one, 'r1');
    await wait();
    await detach(two, 'r2');
    await call.aborted;
    expect(queryOf(await a.nextCall())).toBe('other');
  });

  it('keeps its slot when a reader has come back through another process', async () => {
    const { a, one, two, call, detach, wait } = await readTwice();
    await detach(one, 'r1');
    await detach(two, 'r2');
    const again = { stream_id: 'A', offset: 0, ...WINDOW, reader_id: 'r3' };
    await two.emitWithAck(EVENT.resume, again);
    const text = next(two, EVENT.shortChunk);
    call.say('Still here.');
    await text;
    await wait();
    const more = next(two, EVENT.shortChunk);
    call.say('And here.');
    await more;
    expect(a.calls.map(queryOf)).toEqual(['read']);
  });
});
