import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { Child } from '../harness/child.js';
import { npmRun, npmStart } from '../harness/demo.js';

let rivulet: Child & { url: string };

beforeAll(async () => {
  rivulet = await npmStart({ LLM_MODE: 'docs' });
});
afterAll(async () => void (await rivulet.stop()));

interface Page {
  status: number | undefined;
  headers: NodeJS.Dict<string | string[]>;
  body: string;
}

/** Asks for exactly this path; `fetch` would remove its dots. */
function get(path: string, url = rivulet.url, headers: Record<string, string> = {}): Promise<Page> {
  return new Promise((resolve, reject) => {
    request(url, { path, headers }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.on('end', () => {
        resolve({ status: response.statusCode, headers: response.headers, body });
      });
    })
      .on('error', reject)
      .end();
  });
}

async function scriptOf(page: string): Promise<string> {
  const { body } = await get(page);
  return body.match(/src="(\/assets\/[^"]+\.js)"/)![1]!;
}

describe('what `npm start` serves', () => {
  it.each([
    ['the page', '/', 200],
    ['an example', '/examples/react/', 200],
    ['an example of a chat', '/examples/vue/chat.html', 200],
    ['a document', '/docs/README.md', 200],
    ['a file', '/rivulet.svg', 200],
    ['nothing', '/nothing', 404],
  ])('has the headers that protect it: %s', async (_, path, status) => {
    const page = await get(path);
    expect(page).toMatchObject({
      status,
      headers: {
        'content-security-policy': expect.stringMatching(
          /^default-src 'self';.* frame-ancestors 'none'$/,
        ),
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
      },
    });
    expect(page.headers['content-security-policy']).not.toContain('unsafe-eval');
  });

  it('has them for a script, and where the host name is refused', async () => {
    const script = await get(await scriptOf('/'));
    const refused = await get('/', rivulet.url, { host: 'evil.example' });
    expect([script.status, refused.status]).toEqual([200, 403]);
    for (const { headers } of [script, refused]) {
      expect(headers).toMatchObject({
        'content-security-policy': expect.stringContaining("frame-ancestors 'none'"),
        'x-content-type-options': 'nosniff',
      });
    }
  });

  it('lets only the example that compiles in the browser do so', async () => {
    const { headers } = await get('/examples/angular/');
    expect(headers['content-security-policy']).toContain("script-src 'self' 'unsafe-eval'");
  });

  it('is asked for again at each visit, but for files whose name has their hash', async () => {
    expect((await get('/')).headers['cache-control']).toBe('no-cache');
    expect((await get('/rivulet.svg')).headers['cache-control']).toBe('no-cache');
    const script = await get(await scriptOf('/'));
    expect(script.headers['cache-control']).toBe('public, max-age=31536000, immutable');
    const { etag } = (await get('/')).headers;
    const again = await get('/', rivulet.url, { 'if-none-match': String(etag) });
    expect([again.status, again.body]).toEqual([304, '']);
  });

  it.each([
    '/../package.json',
    '/assets/../../../package.json',
    '/..%2f..%2fpackage.json',
    '/%2e%2e/%2e%2e/package.json',
    '/%2e%2e%2f%2e%2e%2fpackage.json',
    '/..%5c..%5cpackage.json',
    '/%252e%252e/package.json',
    '//etc/passwd',
    '/%00',
    '/index.html%00.js',
    '/%zz',
    '/.%00./package.json',
  ])('is no file outside of the build (%s)', async (path) => {
    expect(await get(path)).toMatchObject({ status: 404, body: 'not found\n' });
  });

  it.each([
    '/@fs/etc/hostname',
    '/@vite/client',
    '/@id/rxjs',
    '/__open-in-editor?file=package.json',
    '/src/main.ts',
    '/serve.ts',
    '/package.json',
    '/node_modules/vite/package.json',
  ])('is no source and no tool of development (%s)', async (path) => {
    expect(await get(path)).toMatchObject({ status: 404, body: 'not found\n' });
  });
});

describe('`npm run dev`', () => {
  it('serves the sources, on loopback, with the same headers', async () => {
    const dev = await npmRun('dev', { LLM_MODE: 'docs' });
    onTestFinished(async () => void (await dev.stop()));
    expect(await get('/src/main.ts', dev.url)).toMatchObject({ status: 200 });
    expect((await get('/', dev.url)).headers).toMatchObject({
      'content-security-policy': expect.stringContaining("frame-ancestors 'none'"),
      'x-content-type-options': 'nosniff',
    });
  });

  it('does not start on another address', async () => {
    const failure = await npmRun('dev', { LLM_MODE: 'docs', HOST: '0.0.0.0' }).catch(
      (error: Error) => error.message,
    );
    expect(failure).toContain('HOST is "0.0.0.0"; `npm run dev` is for this machine alone');
  });
});
