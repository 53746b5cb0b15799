import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { byteLength } from '../../packages/client/src/byte-length.js';
import { cuttableLink } from '../harness/link.js';
import { staged } from '../harness/sdk.js';

/**
 * Runs the client in a realm that has the globals of the language, and those that React Native has of a
 * browser's: there is no DOM, `addEventListener`, `crypto`, `TextEncoder`, `localStorage` or `indexedDB`.
 */
const REALM = `
  const { createContext, runInContext } = require('node:vm');
  const { readFileSync } = require('node:fs');
  const [bundle, app, withCrypto] = process.argv.slice(1);
  const realm = createContext({
    setTimeout, clearTimeout, setInterval, clearInterval, queueMicrotask, console,
    performance, URL, AbortController, WebSocket,
    navigator: { product: 'ReactNative' },
    // An app may have added this one.
    ...(withCrypto && { crypto }),
  });
  runInContext('globalThis.self = globalThis.window = globalThis;', realm);
  runInContext(readFileSync(bundle, 'utf8'), realm);
  runInContext(app, realm);
`;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rivulet-'));
  const { outputFiles } = await build({
    stdin: {
      contents: "export { createClient } from '@rivulet/client';",
      resolveDir: fileURLToPath(new URL('../../demo/', import.meta.url)),
    },
    bundle: true,
    write: false,
    format: 'iife',
    globalName: 'rivulet',
    platform: 'browser',
    target: 'es2022',
    conditions: ['@rivulet/source'],
  });
  await writeFile(join(folder, 'rivulet.js'), outputFiles[0]!.contents);
});
afterAll(() => rm(folder, { recursive: true }));

/** Runs `app` in the realm. @returns what it printed, as JSON. */
async function run(app: string, withCrypto = ''): Promise<unknown> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--experimental-websocket', '-e', REALM, '--', join(folder, 'rivulet.js'), app, withCrypto],
    { timeout: 20_000 },
  );
  return JSON.parse(stdout);
}

describe('where there are no globals of a browser', () => {
  it.each(['', 'crypto'])(
    'but %s, an answer comes, and goes on after the connection broke',
    async (globals) => {
      const { server, nextCall } = await staged();
      const link = await cuttableLink(server.url);
      const printed = run(
        `
      const client = rivulet.createClient({ url: ${JSON.stringify(link.url)} });
      const answer = client.start({ query: 'What is a delta? 🪨' });
      answer.result.then(({ id, text, status }) => {
        console.log(JSON.stringify({ id, text, status }));
        client.close();
      });
    `,
        globals,
      );
      const call = await nextCall();
      call.say('Where a ');
      link.cut();
      call.say('river ends 🪨.');
      call.finish();
      expect(await printed).toEqual({
        id: expect.stringMatching(/^[0-9a-f]{32}$/),
        text: 'Where a river ends 🪨.',
        status: 'done',
      });
    },
  );

  it('the bytes of a text are counted as TextEncoder counts them', () => {
    for (const text of ['', 'delta', 'Flüße', '\u07ff\u0800\uffff', '三角洲', 'a 🪨 b']) {
      expect(byteLength(text)).toBe(new TextEncoder().encode(text).length);
    }
  });

  it('a device is known again by its browserId', async () => {
    const { server, nextCall } = await staged();
    const options = { url: server.url, cache: false, browserId: 'the-secret-of-the-device' };
    const app = (ask: string): Promise<unknown> =>
      run(`
        const client = rivulet.createClient(${JSON.stringify(options)});
        const answer = ${ask};
        answer.state$.subscribe(({ id, text, status }) => {
          if (text !== 'Where a river ends.' || status === 'cancelled') return;
          console.log(JSON.stringify(id));
          client.close();
        });
      `);
    const asked = app("client.start({ query: 'What is a delta?' })");
    (await nextCall()).say('Where a river ends.');
    const id = await asked;
    expect(await app(`client.resume(${JSON.stringify(id)})`)).toBe(id);
  });
});
