import {
  createLlmService,
  mockProvider,
  type Provider,
  gemini,
  ollama,
  openai,
} from '@rivulet/server';
import { describe, expect, it } from 'vitest';
import { unreachable } from '../../packages/server/src/providers/failure.js';
import { unusedUrl } from '../harness/fakes.js';
import { recorded } from '../harness/log.js';
import { providerConfigOf } from '../harness/providers.js';
import { entriesOf, serviceOf } from '../harness/service.js';
import { stage } from '../harness/stage.js';
import { startUpstream } from '../harness/upstream.js';

const KEY = 'AIza-key-that-stays-here';
const ASK = { query: 'What is xyzzy?' };

/** The log line of a question that `provider` cannot answer. */
async function loggedOf(provider: Provider): Promise<string> {
  const log = recorded();
  await entriesOf(serviceOf(provider, { logger: log.logger }).generateResponseStream(ASK));
  const written = log.written();
  expect(written).not.toContain(KEY);
  expect(written).not.toContain('xyzzy');
  const last = log.events.at(-1) as { err: { cause: { detail: string } } };
  return last.err.cause.detail;
}

const PROVIDERS: [string, (url: string) => Provider][] = [
  ['gemini', (baseUrl) => gemini({ apiKey: KEY, model: 'm', baseUrl })],
  ['openai', (baseUrl) => openai({ apiKey: KEY, model: 'm', baseUrl })],
  ['ollama', (host) => ollama({ host, model: 'm' })],
];

describe.each(PROVIDERS)('the log says why %s was not reached:', (name, create) => {
  it('the connection was refused', async () => {
    const detail = await loggedOf(create(await unusedUrl()));
    expect(detail).toMatch(new RegExp(`^unable to reach ${name}: connection refused\\. Check`));
  });

  it('the host does not exist', async () => {
    const detail = await loggedOf(create('http://no-such-host.invalid'));
    expect(detail).toMatch(/: no such host\. Check/);
  });

  it('nothing there speaks TLS', async () => {
    const { url } = await startUpstream((_, response) => response.end());
    const detail = await loggedOf(create(url.replace('http:', 'https:')));
    expect(detail).toMatch(/: no TLS connection\. Check/);
  });

  it('the connection was closed', async () => {
    const { url } = await startUpstream((_, response) => response.destroy());
    expect(await loggedOf(create(url))).toMatch(/: connection closed\. Check/);
  });
});

describe.each([
  ['gemini', 'GEMINI_BASE_URL', { GEMINI_API_KEY: KEY }],
  ['openai', 'OPENAI_BASE_URL', { OPENAI_API_KEY: KEY, OPENAI_MODEL: 'm' }],
  ['openai', 'OPENAI_BASE_URL', {}],
])('a base URL of %s', (provider, variable, others) => {
  const logOf = async (url: string) => {
    const log = recorded();
    const env = { LLM_MODE: 'api', [variable]: url, ...others };
    await createLlmService({ env, logger: log.logger });
    return log;
  };

  it('that nothing answers at is logged before any question, with what to check', async () => {
    const log = await logOf(await unusedUrl());
    await expect.poll(() => log.events).toHaveLength(1);
    expect(log.events[0]).toMatchObject({
      event: 'LLM_PROVIDER_UNAVAILABLE',
      provider,
      err: { detail: expect.stringMatching(`: connection refused. Check .*${variable}`) },
    });
    expect(log.written()).not.toContain(KEY);
  });

  it('that answers with an error of HTTP is not logged as one', async () => {
    const { url, requests } = await startUpstream((_, response) => {
      response.statusCode = 404;
      response.end('{}');
    });
    const log = await logOf(url);
    await expect.poll(() => requests).toHaveLength(1);
    expect(log.written()).not.toContain('LLM_PROVIDER_UNAVAILABLE');
  });
});

describe('the log says of a provider that took too long', () => {
  it.each([
    ['own', { firstChunkMs: 20 }, 'it did not begin', 'deadlines.firstChunkMs of the provider'],
    [
      'openai',
      { firstChunkMs: 20 },
      'it did not begin',
      'OPENAI_FIRST_CHUNK_SECONDS, or deadlines',
    ],
    ['gemini', { totalMs: 20 }, 'it did not finish', 'GEMINI_TOTAL_SECONDS, or deadlines'],
  ])('%s: its name, the limit and the setting (%j)', async (name, deadlines, what, setting) => {
    const { provider } = stage(name);
    const log = recorded();
    const providers = [providerConfigOf(provider, { deadlines })] as const;
    const llm = serviceOf(provider, { providers, logger: log.logger });
    await entriesOf(llm.generateResponseStream(ASK));
    const detail = expect.stringContaining(
      `${name}: ${what} within 20 ms. The limit is ${setting}`,
    );
    expect(log.events.at(-1)).toMatchObject({
      event: 'LLM_STREAM_GENERATION_FAILED',
      provider: name,
      err: { cause: { type: 'DeadlineError', detail } },
    });
  });
});

describe('a cause of the network', () => {
  it.each([
    ['DEPTH_ZERO_SELF_SIGNED_CERT', 'the TLS certificate is not trusted'],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'the TLS certificate is not trusted'],
    ['CERT_HAS_EXPIRED', 'the TLS certificate has expired'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'the TLS certificate is for another host'],
    ['ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION', 'no TLS connection'],
    ['EHOSTUNREACH', 'no route to the host'],
    ['UND_ERR_CONNECT_TIMEOUT', 'no connection in time'],
    ['EMFILE', 'EMFILE'],
  ])(
    '%s is told, also behind the error of fetch, and its code is in the log',
    async (code, words) => {
      const cause = Object.assign(new Error(`https://x.example/?key=${KEY}`), { code });
      for (const error of [cause, new TypeError('fetch failed', { cause })]) {
        const fail = unreachable('own', error, 'Check it');
        expect(fail.detail).toBe(`unable to reach own: ${words}. Check it`);
        const log = recorded();
        const llm = serviceOf(
          mockProvider(() => [{ fail }]),
          { logger: log.logger },
        );
        await entriesOf(llm.generateResponseStream(ASK));
        expect(log.written()).toContain(`"code":"${code}"`);
        expect(log.written()).not.toContain(KEY);
      }
    },
  );

  it('without a code is none, since its words may quote the URL', () => {
    const error = Object.assign(new Error(KEY), { code: `https://x.example/?key=${KEY}` });
    const { detail, cause } = unreachable('own', error, 'Check it');
    expect(detail).toBe('unable to reach own: the request failed. Check it');
    expect(cause).toBeUndefined();
  });
});

describe.each([
  ['gemini', 'GEMINI_API_KEY', gemini],
  ['openai', 'OPENAI_API_KEY', openai],
] as const)('a key of %s that no header may have', (name, variable, create) => {
  it.each(['AIza…', 'AIza\nkey', 'a key', ''])(
    'is a fault of the configuration (%j), and is not shown',
    async (apiKey) => {
      const { url, requests } = await startUpstream((_, response) => response.end());
      const provider = create({ apiKey, model: 'm', baseUrl: url });
      const log = recorded();
      const llm = serviceOf(provider, { logger: log.logger });
      await entriesOf(llm.generateResponseStream(ASK));
      expect(llm.providerStatus()).toMatchObject([
        { problem: { failure: 'misconfigured', advice: `Check ${variable}` } },
      ]);
      expect(log.events[0]).toMatchObject({
        event: 'LLM_PROVIDER_MISCONFIGURED',
        err: {
          detail: `unable to ask ${name}: the key has characters that no HTTP header may have. Check ${variable}`,
        },
      });
      expect(log.written()).not.toMatch(/AIza|a key/);
      expect(requests).toEqual([]);
    },
  );
});
