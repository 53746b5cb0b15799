import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  inspectOllama,
  isLoaded,
  loadModel,
} from '../../packages/server/src/providers/ollama/inspect.js';
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
  ['inspectOllama', (host: string, signal: AbortSignal) => inspectOllama(host, signal)],
  ['isLoaded', (host: string, signal: AbortSignal) => isLoaded(host, 'llama3.2', signal)],
  ['loadModel', (host: string, signal: AbortSignal) => loadModel(host, 'llama3.2', signal)],
] as const;

describe('inspectOllama', () => {
  it('tells version and models, newest first', async () => {
    const { version, models } = await inspectOllama(fake.url, NEVER);
    expect(version).toBe('0.24.0');
    expect(
      models.map(({ name, capabilities, contextLength }) => [name, capabilities, contextLength]),
    ).toEqual([
      ['llama3.2:latest', ['completion', 'tools', 'thinking'], 131_072],
      ['qwen3:0.6b', ['completion', 'tools', 'thinking'], 40_960],
      ['nomic-embed-text:latest', ['embedding'], 2_048],
      ['stories:latest', ['completion'], 512],
    ]);
  });

  it('asks about the models at the same time, and about 50 of them at most', async () => {
    let open = 0;
    let most = 0;
    let release = (): void => {};
    const all = new Promise<void>((resolve) => (release = resolve));
    const { url, requests } = await startUpstream(async ({ path }, response) => {
      const models = Array.from({ length: 60 }, (_, i) => ({ name: `m${i}`, modified_at: 'now' }));
      if (path === '/api/show') {
        most = Math.max(most, ++open);
        if (open === 50) release();
        await all;
      }
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(path === '/api/tags' ? { models } : { version: '0.1.0' }));
    });
    const { models } = await inspectOllama(url, NEVER);
    expect(models).toHaveLength(50);
    expect(models[0]).toEqual({
      name: 'm0',
      modifiedAt: 'now',
      capabilities: [],
      contextLength: undefined,
    });
    expect(most).toBe(50);
    expect(requests).toHaveLength(52);
  });

  it('leaves out a model that was removed meanwhile', async () => {
    const { url } = await startUpstream(({ path, body }, response) => {
      const isGone = path === '/api/show' && (body as { model: string }).model === 'gone';
      response.writeHead(isGone ? 404 : 200, { 'content-type': 'application/json' });
      const models = [{ name: 'gone' }, { name: 'here' }];
      response.end(JSON.stringify(isGone ? { error: "model 'gone' not found" } : { models }));
    });
    const { models } = await inspectOllama(url, NEVER);
    expect(models.map(({ name }) => name)).toEqual(['here']);
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
      await expect(inspectOllama(host, NEVER)).rejects.toThrow(/its host must be/);
    },
  );

  it('may have a login, a path and no scheme', async () => {
    const { url, requests } = await startUpstream((_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end('{"models":[]}');
    });
    const host = ` "me:p%40ss@${url.replace('http://', '')}/behind/" `;
    await inspectOllama(host, NEVER);
    expect(requests.map(({ path }) => path).toSorted()).toEqual([
      '/behind/api/tags',
      '/behind/api/version',
    ]);
    expect(requests[0]!.headers.authorization).toBe(
      `Basic ${Buffer.from('me:p@ss').toString('base64')}`,
    );
  });
});
