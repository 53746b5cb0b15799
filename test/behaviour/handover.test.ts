import { connect, createServer, type Socket } from 'node:net';
import type { RivuletServer } from '@rivulet/server';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { startServer } from '../harness/rivulet.js';
import { sdk, snapshotWhen } from '../harness/sdk.js';
import { stage } from '../harness/stage.js';

/** A TCP load balancer: connections go to the servers in turn, from the first one on. */
async function balancer(...servers: readonly { url: string }[]) {
  /** The server of each connection so far, as its number. */
  const led: number[] = [];
  const open = new Set<Socket>();
  const proxy = createServer((near) => {
    const target = led.length % servers.length;
    led.push(target);
    const far = connect(Number(new URL(servers[target]!.url).port), '127.0.0.1');
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(socket);
      socket.pipe(other);
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        open.delete(socket);
        other.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of open) socket.destroy();
    proxy.close();
  });
  const { port } = proxy.address() as { port: number };
  return { url: `http://127.0.0.1:${port}`, led, open };
}

/** Two servers behind a balancer, and a client that reads an answer of the first. */
async function running() {
  const [old, fresh] = [stage(), stage()];
  const first = await startServer(old.provider);
  const second = await startServer(fresh.provider);
  // The second connection goes to the first server again.
  const { url, led, open } = await balancer(first, first, second);
  const client = sdk(url);
  const answer = client.start({ query: 'Where does a river end?' });
  const call = await old.nextCall();
  call.say('Where a ');
  await snapshotWhen(answer, ({ text }) => text !== '');
  return { old, fresh, first, client, answer, call, led, open };
}

async function drain(server: RivuletServer & { url: string }, drainMs = 20_000) {
  const drained = server.drain(drainMs);
  await vi.waitFor(async () => {
    expect((await fetch(`${server.url}/readyz`)).status).toBe(503);
  });
  return { drained };
}

describe('a client whose server is shutting down', () => {
  it('asks the next server at once, and reads its answer here to the end', async () => {
    const { old, fresh, first, client, answer, call, led } = await running();
    const { drained } = await drain(first);
    const statuses: string[] = [];
    client.connection$.subscribe(({ status }) => statuses.push(status));
    const asked = client.start({ query: 'What is a delta?' });
    const other = await fresh.nextCall();
    call.say('river ');
    await snapshotWhen(answer, ({ text }) => text === 'Where a river ');
    other.say('It ends.');
    other.finish();
    expect(await asked.result).toMatchObject({ text: 'It ends.', status: 'done' });
    expect(answer.getSnapshot().status).toBe('streaming');
    // The first server refused the second connection, though it has a stream of this client.
    expect(led).toEqual([0, 1, 2]);
    expect(statuses).toEqual(['connected', 'connecting', 'reconnecting', 'connected']);

    call.say('ends.');
    call.finish();
    expect(await answer.result).toMatchObject({ text: 'Where a river ends.' });
    await drained;
    const later = client.start({ query: 'What is a spring?' });
    const last = await fresh.nextCall();
    last.say('It begins.');
    last.finish();
    expect(await later.result).toMatchObject({ text: 'It begins.' });
    expect(led).toEqual([0, 1, 2]);
    expect(old.calls).toHaveLength(1);
  });

  it('hands on a question that crossed the notice', async () => {
    const { old, fresh, first, client, answer, call } = await running();
    const drained = first.drain(20_000);
    const asked = client.start({ query: 'What is a delta?' });
    const other = await fresh.nextCall();
    other.say('It ends.');
    other.finish();
    expect(await asked.result).toMatchObject({ text: 'It ends.' });
    call.say('river ends.');
    call.finish();
    expect(await answer.result).toMatchObject({ text: 'Where a river ends.' });
    await drained;
    expect(old.calls).toHaveLength(1);
  });

  it.each([
    ['', false, [0]],
    [', also after a question elsewhere', true, [0, 1, 2]],
  ])('stops its answer here%s', async (_, asksElsewhere, connections) => {
    const { fresh, first, client, answer, call, led } = await running();
    const { drained } = await drain(first);
    if (asksElsewhere) {
      client.start({ query: 'What is a delta?' });
      await fresh.nextCall();
    }
    answer.cancel();
    await call.aborted;
    expect(led).toEqual(connections);
    await drained;
  });

  it('asks the next server, though it has read an answer here', async () => {
    const { old, fresh, first, client, answer, call, led } = await running();
    call.finish();
    await answer.result;
    await drain(first);
    const asked = client.start({ query: 'What is a delta?' });
    const other = await fresh.nextCall();
    other.say('It ends.');
    other.finish();
    expect(await asked.result).toMatchObject({ text: 'It ends.' });
    expect(led.slice(0, 3)).toEqual([0, 1, 2]);
    expect(old.calls).toHaveLength(1);
  });

  it('closes both connections when it is closed', async () => {
    const { fresh, first, client, answer, open } = await running();
    await drain(first);
    const asked = client.start({ query: 'What is a delta?' });
    await fresh.nextCall();
    expect(open.size).toBeGreaterThan(2);
    client.close();
    expect(await answer.result).toMatchObject({ status: 'cancelled', text: 'Where a ' });
    expect(await asked.result).toMatchObject({ status: 'cancelled' });
    await vi.waitFor(() => expect(open.size).toBe(0));
  });
});
