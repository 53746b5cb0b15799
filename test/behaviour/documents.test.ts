import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { serveDocument } from '../../demo/documents.js';

async function serve(): Promise<number> {
  const server = createServer((incoming, response) => {
    if (!serveDocument(incoming, response)) response.end('the page');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

/** `fetch` would remove dots from the path. */
function get(port: number, path: string): Promise<{ status: number | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port, path }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.on('end', () => resolve({ status: response.statusCode, body }));
    })
      .on('error', reject)
      .end();
  });
}

describe('the documents of the demo', () => {
  it('are served as text', async () => {
    const { status, body } = await get(await serve(), '/docs/PROTOCOL.md?raw');
    expect(status).toBe(200);
    expect(body).toMatch(/^# /);
  });

  it.each(['../package.json', 'constructor', '__proto__', 'nothing.md', ''])(
    'are no other files (%j)',
    async (name) => {
      expect(await get(await serve(), `/docs/${name}`)).toMatchObject({ status: 404 });
    },
  );

  it('leave other paths to the page', async () => {
    expect(await get(await serve(), '/doc/README.md')).toEqual({ status: 200, body: 'the page' });
  });
});
