import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { createClient } from '@rivulet/client';
import { batch as batchArbitrary } from './packets.js';
import { openRaw, type RawConnection } from './raw-websocket.js';
import type { FromServer, Vitals } from './server.js';

export interface FuzzOptions {
  seed: number;
  /** Messages in all. */
  messages: number;
  /** Other users, each of whom reads one long answer after the other. */
  victims: number;
}

export interface FuzzReport {
  messages: number;
  connections: number;
  /** Replies of the server, refusals among them. */
  replies: number;
  /** Requests that the server accepted. */
  accepted: number;
  seconds: number;
  /** Answers of the other users that were compared, word by word. */
  answers: number;
  before: Vitals;
  after: Vitals;
  violations: string[];
}

const AT_ONCE = 8;
const WORDS = 100;
/** An attacker may have made the server ignore its connection. */
const ANSWER_MS = 300;
const SETTLE_MS = 60_000;
const MAX_GROWTH_BYTES = 24 * 1024 * 1024;

/** Sends arbitrary packets to a server, and checks that it, and the answers of others, stay whole. */
export async function runFuzz({ seed, messages, victims }: FuzzOptions): Promise<FuzzReport> {
  const startedAt = performance.now();
  const server = fork(fileURLToPath(new URL('./server.ts', import.meta.url)), {
    execArgv: [
      '--conditions=@rivulet/source',
      '--import',
      'tsx',
      '--expose-gc',
      '--unhandled-rejections=strict',
    ],
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
  });
  let stderr = '';
  server.stderr?.on('data', (text: Buffer) => (stderr += text.toString()));
  const violations: string[] = [];
  let isUp = true;
  server.once('exit', (code, signal) => {
    isUp = false;
    violations.push(`the server ended with ${code ?? signal}: ${stderr.slice(-2_000)}`);
  });
  try {
    const { url } = await heard(server, 'listening');
    const before = await vitalsOf(server);
    const reading = new AbortController();
    const readers = Array.from({ length: victims }, (_, i) =>
      readOn(url, i, reading.signal, violations),
    );
    const sent = await attack(url, seed, messages, violations, () => isUp);
    reading.abort();
    const counts = await Promise.all(readers);
    const after = isUp ? await settled(server, before) : before;
    if (after.connections > 0) violations.push(`${after.connections} connections are left`);
    if (after.heapBytes - before.heapBytes > MAX_GROWTH_BYTES) {
      violations.push(`the heap grew from ${before.heapBytes} to ${after.heapBytes} bytes`);
    }
    const answers = counts.reduce((sum, count) => sum + count, 0);
    const seconds = (performance.now() - startedAt) / 1000;
    return { ...sent, seconds, answers, before, after, violations };
  } finally {
    server.removeAllListeners('exit');
    server.kill('SIGKILL');
  }
}

async function attack(
  url: string,
  seed: number,
  messages: number,
  violations: string[],
  isUp: () => boolean,
): Promise<Pick<FuzzReport, 'messages' | 'connections' | 'replies' | 'accepted'>> {
  const batches = fc.sample(batchArbitrary, {
    seed,
    numRuns: Math.ceil(messages / 16),
  });
  let sent = 0;
  let connections = 0;
  let replies = 0;
  let accepted = 0;
  let next = 0;

  async function attacker(): Promise<void> {
    while (sent < messages && isUp()) {
      const batch = batches[next++ % batches.length] ?? [];
      // Many addresses, so that the limits of one do not end the run.
      const address = `127.${1 + (connections % 200)}.${1 + (next % 200)}.2`;
      connections += 1;
      const connection = await openRaw(url, address);
      // Most connections begin with a handshake that the server accepts.
      if (connections % 4 !== 0) await enter(connection);
      for (const packet of batch) connection.send(packet);
      sent += batch.length;
      await answered(connection);
      replies += connection.heard().match(/43\d/g)?.length ?? 0;
      accepted += connection.heard().match(/43\d+\[\{"ok":true/g)?.length ?? 0;
      if (connection.heard().includes('"code":"internal"')) {
        violations.push(`an internal error: ${JSON.stringify(batch).slice(0, 2_000)}`);
      }
      connection.close();
    }
  }

  await Promise.all(Array.from({ length: AT_ONCE }, attacker));
  return { messages: sent, connections, replies, accepted };
}

async function enter(connection: RawConnection): Promise<void> {
  connection.send('40{"protocol":1,"browser_id":"a-browser-of-an-attacker"}');
  await connection.until('40{');
}

/** Waits for the reply to a last request, or until the server has closed the connection. */
async function answered(connection: RawConnection): Promise<void> {
  connection.send('42424242["stream_list",{}]');
  const timer = setTimeout(connection.close, ANSWER_MS);
  await connection.until('43424242');
  clearTimeout(timer);
}

/** Reads one answer after the other until `signal`, as another user. @returns the number of answers. */
async function readOn(
  url: string,
  user: number,
  signal: AbortSignal,
  violations: string[],
): Promise<number> {
  const browserId = `the-browser-of-user-${user}`;
  const client = createClient({ url, browserId, cache: false });
  const expected = Array.from({ length: WORDS }, (_, i) => `word${i} `).join('');
  let answers = 0;
  while (!signal.aborted) {
    const { result } = client.start({ query: `long answer of ${WORDS} words` });
    try {
      const { text } = await result;
      if (text !== expected) violations.push(`user ${user} received ${JSON.stringify(text)}`);
    } catch (error) {
      violations.push(`the answer of user ${user} failed: ${String(error)}`);
      break;
    }
    answers += 1;
  }
  client.close();
  return answers;
}

/** The vitals once nothing of the attack is left, or after a minute. */
async function settled(server: ChildProcess, before: Vitals): Promise<Vitals> {
  const deadline = performance.now() + SETTLE_MS;
  for (;;) {
    const vitals = await vitalsOf(server);
    const isSettled =
      vitals.connections === 0 && vitals.heapBytes - before.heapBytes < MAX_GROWTH_BYTES;
    if (isSettled || performance.now() > deadline) return vitals;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

async function vitalsOf(server: ChildProcess): Promise<Vitals> {
  server.send('vitals');
  return (await heard(server, 'vitals')).vitals;
}

async function heard<T extends FromServer['type']>(
  server: ChildProcess,
  type: T,
): Promise<Extract<FromServer, { type: T }>> {
  for (;;) {
    const [message] = (await Promise.race([
      once(server, 'message'),
      once(server, 'exit').then(() => {
        throw new Error('unable to go on: the server ended');
      }),
    ])) as [FromServer];
    if (message.type === type) return message as Extract<FromServer, { type: T }>;
  }
}
