import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  findModel,
  isLoaded,
  loadModel,
  ollamaVersion,
} from '../../packages/server/src/providers/ollama/inspect.js';
import { toAddress } from '../../packages/server/src/providers/ollama/address.js';
import { ollama } from '../../packages/server/src/providers/ollama/ollama.js';
import { type RunningFake, startFake, unusedUrl } from '../harness/fakes.js';
import { startUpstream } from '../harness/upstream.js';

const NEVER = new AbortController().signal;

let fake: RunningFake;
beforeAll(async () => {
  fake = await startFake('ollama');
});
afterAll(() => fake.stop());

const LOOKS = [
  ['ollamaVersion', (host: string, signal: AbortSignal) => ollamaVersion(host, signal)],
  ['findModel', (host: string, signal: AbortSignal) => findModel(host, undefined, signal)],
  ['isLoaded', (host: string, signal: AbortSignal) => isLoaded(host, 'llama3.2', signal)],
  ['loadModel', (host: string, signal: AbortSignal) => loadModel(host, 'llama3.2', signal)],
] as const;

describe('ollamaVersion', () => {
  it('is what Ollama says', async () => {
    expect(await ollamaVersion(fake.url, NEVER)).toBe('0.24.0');
  });

  it.each([
    [401, 'application/json', '{"error":"unauthorized"}', /Check the login in OLLAMA_HOST/],
    [404, 'text/plain', '404 page not found', /Check OLLAMA_HOST/],
  ])('fails as "misconfigured" for %i', async (status, type, body, detail) => {
    const { url } = await startUpstream((_, response) => {
      response.writeHead(status, { 'content-type': type });
      response.end(body);
    });
    await expect(ollamaVersion(url, NEVER)).rejects.toMatchObject({
      failure: 'misconfigured',
      detail: expect.stringMatching(detail),
    });
  });
});

/** An Ollama that has these models, newest first, and shows each as it is. */
function startOllama(models: Readonly<Record<string, object | number>>) {
  return startUpstream(({ path, body }, response) => {
    const asked = path === '/api/show' ? models[(body as { model: string }).model] : 200;
    const status = typeof asked === 'number' ? asked : 200;
    const names = Object.keys(models).map((name) => ({ name }));
    response.writeHead(status, { 'content-type': 'application/json' });
    const error = { error: 'no such model' };
    const listed = path === '/api/tags' ? { models: names } : asked;
    response.end(JSON.stringify(status === 200 ? listed : error));
  });
}

describe('findModel', () => {
  it('tells of the model with the name, and asks about no other', async () => {
    const { url, requests } = await startOllama({ new: {}, old: { capabilities: ['embedding'] } });
    expect(await findModel(url, 'old', NEVER)).toEqual({
      name: 'old',
      modifiedAt: undefined,
      capabilities: ['embedding'],
      contextLength: undefined,
    });
    expect(requests.map(({ path }) => path)).toEqual(['/api/show']);
  });

  it('tells of none where the name is not installed', async () => {
    const { url } = await startOllama({ phi4: 404 });
    expect(await findModel(url, 'phi4', NEVER)).toBeUndefined();
  });

  it.each([
    ['that can chat', { a: { capabilities: ['embedding'] }, b: { capabilities: ['completion'] } }],
    ['that is still there', { a: 404, b: { capabilities: ['completion'] } }],
    ['whose name is of no embedding model', { 'nomic-embed-text': {}, 'bge-bert': {}, b: {} }],
    ['that may be asked about', { b: 403, c: { capabilities: ['completion'] } }],
  ])('takes the newest one %s', async (_, models) => {
    const { url } = await startOllama(models);
    expect(await findModel(url, undefined, NEVER)).toMatchObject({ name: 'b' });
  });

  it('asks about 50 at most, and leaves no listener of each', async () => {
    const warned = vi.fn<(warning: Error) => void>();
    process.on('warning', warned);
    const many = Array.from({ length: 60 }, (_, i) => [`m${i}`, { capabilities: ['embedding'] }]);
    const { url, requests } = await startOllama(Object.fromEntries(many));
    expect(await findModel(url, undefined, NEVER)).toBeUndefined();
    expect(requests).toHaveLength(51);
    process.off('warning', warned);
    expect(warned).not.toHaveBeenCalled();
  });
});

describe('loadModel', () => {
  it.each([
    ['a model that is missing', 404, "model 'm' not found", /ollama pull m/],
    ['a model that cannot chat', 400, '"m" does not support chat', /Set OLLAMA_MODEL/],
  ])('fails as "misconfigured" for %s', async (_, status, error, detail) => {
    const { url } = await startUpstream((__, response) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ error }));
    });
    await expect(loadModel(url, 'm', NEVER)).rejects.toMatchObject({
      failure: 'misconfigured',
      detail: expect.stringMatching(detail),
    });
  });
});

describe.each(LOOKS)('%s', (_, look) => {
  it('fails as "unavailable" where nothing listens', async () => {
    await expect(look(await unusedUrl(), NEVER)).rejects.toMatchObject({
      failure: 'unavailable',
      detail: expect.stringMatching(/connection refused/),
    });
  });

  it('fails as "unavailable" where something else answers', async () => {
    for (const [type, body] of [
      ['text/html', '<html></html>'],
      ['application/json', '{"models":"none"}'],
      ['application/json', '17'],
      ['application/json', '{'],
    ] as const) {
      const { url } = await startUpstream((__, response) => {
        response.writeHead(200, { 'content-type': type });
        response.end(body);
      });
      const result = look(url, NEVER);
      await expect(result).rejects.toMatchObject({ name: 'ProviderError', failure: 'unavailable' });
    }
  });

  it('throws the reason of its signal, and closes its connections', async () => {
    let closed = 0;
    let opened = (): void => {};
    const open = new Promise<void>((resolve) => (opened = resolve));
    const { url } = await startUpstream((__, response) => {
      response.on('close', () => closed++);
      opened();
    });
    const left = new Error('the caller left');
    const caller = new AbortController();
    const result = look(url, caller.signal);
    await open;
    caller.abort(left);
    await expect(result).rejects.toBe(left);
    await expect.poll(() => closed).toBeGreaterThan(0);
    await expect(look(url, AbortSignal.abort(left))).rejects.toBe(left);
  });
});

describe('the address of ollama', () => {
  it.each(['local host', 'ftp://me:open-sesame@x', 'localhost:99999', '[::1'])(
    '%j is refused at once, without a word of it',
    async (host) => {
      expect(() => ollama({ host, model: 'm' })).toThrow(
        new TypeError(
          'unable to use Ollama: its host must be a URL or a host, such as http://127.0.0.1:11434',
        ),
      );
      await expect(findModel(host, 'm', NEVER)).rejects.toThrow(/its host must be/);
    },
  );

  it('may have a login, a path and no scheme', async () => {
    const { url, requests } = await startUpstream((_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end('{"models":[]}');
    });
    const host = ` "me:p%40ss@${url.replace('http://', '')}/behind/" `;
    await findModel(host, undefined, NEVER);
    expect(requests.map(({ path }) => path)).toEqual(['/behind/api/tags']);
    expect(toAddress(host).url).toBe(`${url}/behind`);
    expect(requests[0]!.headers.authorization).toBe(
      `Basic ${Buffer.from('me:p@ss').toString('base64')}`,
    );
  });
});
