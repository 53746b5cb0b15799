import { io } from 'socket.io-client';
import { EVENT, type StreamChunkMessage } from '@rivulet/protocol';
import type { TestProject } from 'vitest/node';
import { startChild } from '../../harness/child.js';
import { type Description, KINDS, scriptQuery } from './script.js';
import type { ServerUnderTest } from './server.js';

const NO_SCRIPTS = 'the server plays no scripts (test/conformance/README.md, “Scripts”)';

const ANSWER_MS = 60_000;

/** Finds the server under test, or starts our own; asks it once whether it plays scripts. */
export default async function setUp(project: TestProject): Promise<() => Promise<void>> {
  const { redisUrl } = project.getProvidedContext();
  const given = redisUrl === undefined ? process.env['CONFORMANCE_URL'] : undefined;
  const own = given === undefined ? await startOwn(redisUrl) : undefined;
  const url = given ?? own?.match[1] ?? '';
  const server: ServerUnderTest = { url, scripts: await askForScripts(url) };
  const found = 'missing' in server.scripts ? server.scripts.missing : 'the server plays scripts';
  console.log(`conformance: ${url}: ${found}`);
  project.provide('conformance', server);
  return async () => void (await own?.stop());
}

function startOwn(redisUrl: string | undefined) {
  const args = ['--conditions=@rivulet/source', '--import', 'tsx', 'test/conformance/own/main.ts'];
  return startChild(process.execPath, args, {
    ready: /^conformance server: (\S+)$/,
    ...(redisUrl !== undefined && { env: { TEST_REDIS_URL: redisUrl } }),
  });
}

async function askForScripts(url: string): Promise<ServerUnderTest['scripts']> {
  let timer: NodeJS.Timeout | undefined;
  const socket = io(url, { transports: ['websocket'], reconnection: false, forceNew: true });
  try {
    return await new Promise((resolve, reject) => {
      let text = '';
      const steps = [{ describe: true }, { finish: 'stop' }] as const;
      const query = scriptQuery({ id: crypto.randomUUID(), steps: [...steps] });
      socket.on('connect_error', (error) => {
        reject(new Error(`unable to connect to ${url}: ${error.message}`));
      });
      socket.on(EVENT.chunk, ({ data }: StreamChunkMessage) => void (text += data));
      socket.on(EVENT.end, () => resolve(readDescription(text)));
      socket.on(EVENT.error, () => resolve({ missing: NO_SCRIPTS }));
      socket.emit(EVENT.start, { query });
      timer = setTimeout(() => reject(new Error(`${url} gives no answer`)), ANSWER_MS);
    });
  } finally {
    clearTimeout(timer);
    socket.disconnect();
  }
}

function readDescription(text: string): ServerUnderTest['scripts'] {
  try {
    const { conformance, serves } = JSON.parse(text) as Partial<Description>;
    if (conformance !== 1 || !Array.isArray(serves)) return { missing: NO_SCRIPTS };
    return { serves: KINDS.filter((kind) => serves.includes(kind)) };
  } catch {
    return { missing: NO_SCRIPTS };
  }
}
