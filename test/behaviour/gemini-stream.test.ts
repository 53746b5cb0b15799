import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { gemini } from '../../packages/server/src/providers/gemini/gemini.js';
import { responseOf } from '../../packages/server/src/providers/gemini/sdk-fetch.js';
import type { Provider } from '../../packages/server/src/providers/provider.js';
import { hear, type Heard, toPrompt } from '../harness/fakes.js';
import { heldBytes } from '../harness/heap.js';
import { entriesOf, serviceOf } from '../harness/service.js';
import { packetings, sendPieces, startUpstream } from '../harness/upstream.js';

const SSE = 'text/event-stream';
const PIECES = ['Grüße ', '🌊 ', 'data: x\n\n', 'a\u2028b\u2029c\u0085 ', '日本'];

const frame = (text: string, more: object = {}): string =>
  JSON.stringify({
    candidates: [{ content: { parts: [{ text }], role: 'model' }, ...more }],
    usageMetadata: { promptTokenCount: 3, candidatesTokenCount: 1 },
    modelVersion: 'gemini-2.0-flash-001',
  });
const FRAMES = [...PIECES.map((piece) => frame(piece)), frame('', { finishReason: 'STOP' })];
const pretty = (data: string): string => JSON.stringify(JSON.parse(data), null, 1);

const model = (url: string): Provider =>
  gemini({ apiKey: 'k', model: 'gemini-2.0-flash', baseUrl: url });

/** The answer to a body that comes in these pieces. */
async function read(pieces: Iterable<string | Uint8Array>, isCut = false): Promise<Heard> {
  const { url } = await startUpstream((_, response) => sendPieces(response, SSE, pieces, isCut));
  return hear(model(url), 'hello');
}

/** Legal streams of server-sent events with the same frames. */
const SHAPES: Readonly<Record<string, string>> = {
  CRLF: FRAMES.map((data) => `data: ${data}\r\n\r\n`).join(''),
  LF: FRAMES.map((data) => `data: ${data}\n\n`).join(''),
  CR: FRAMES.map((data) => `data: ${data}\r\r`).join(''),
  'mixed line ends': FRAMES.map((data) => `data: ${data}\r\n\n`).join(''),
  'no space after the colon': FRAMES.map((data) => `data:${data}\n\n`).join(''),
  'comments between events': FRAMES.map((data) => `: keep-alive\n\ndata: ${data}\n\n`).join(''),
  'comments inside events': FRAMES.map((data) => `:\n: ping\ndata: ${data}\n: pong\n\n`).join(''),
  'event and id': FRAMES.map((data, i) => `event: message\nid: ${i}\ndata: ${data}\n\n`).join(''),
  'id after data': FRAMES.map((data, i) => `data: ${data}\nid: ${i}\nretry: 10\n\n`).join(''),
  'unknown fields': FRAMES.map((data) => `x: y\nz\ndata: ${data}\n\n`).join(''),
  'several data lines': FRAMES.map(
    (data) => `data: ${pretty(data).split('\n').join('\ndata: ')}\n\n`,
  ).join(''),
  'blank lines first and between': `\n\r\n\n${FRAMES.map((data) => `data: ${data}\n\n\n\n`).join('')}`,
  'a byte order mark': `\uFEFF${FRAMES.map((data) => `data: ${data}\n\n`).join('')}`,
  '[DONE] at the end': `${FRAMES.map((data) => `data: ${data}\n\n`).join('')}data: [DONE]\n\n`,
  'empty data': FRAMES.map((data) => `data\n\ndata:\n\ndata: ${data}\n\n`).join(''),
  'a last event without its blank line': FRAMES.map((data) => `data: ${data}`).join('\n\n'),
  'a last event with one line end': `${FRAMES.map((data) => `data: ${data}`).join('\r\n\r\n')}\r\n`,
  'a last event with CR alone': `${FRAMES.map((data) => `data: ${data}`).join('\r\r')}\r`,
};

describe.each(Object.entries(SHAPES))('a stream of gemini with %s', (_, stream) => {
  const whole = {
    text: PIECES.join(''),
    error: undefined,
    last: {
      type: 'finish',
      reason: 'stop',
      usage: { input_tokens: 3, output_tokens: 1 },
      model: 'gemini-2.0-flash-001',
    },
  };
  const facts = ({ text, error, deltas }: Heard) => ({ text, error, last: deltas.at(-1) });

  it.each(packetings(stream))('is read %s', async (__, packets) => {
    expect(facts(await read(packets))).toEqual(whole);
  });
});

describe('a stream of gemini that is broken', () => {
  const events = FRAMES.map((data) => `data: ${data}\n\n`);
  const begun = events.slice(0, 2).join('');
  const text = PIECES.slice(0, 2).join('');

  it.each([
    ['in an event', `${begun}${events[2]!.slice(0, -20)}`],
    ['between two events', begun],
    [
      'after a frame that is no JSON',
      `${begun}data: {"candidates":\n\n${events.slice(2).join('')}`,
    ],
    ['after a frame that is no object', `${begun}data: 17\n\n${events.slice(2).join('')}`],
  ])('%s gives the text so far and an error', async (_, stream) => {
    const heard = await read([stream]);
    expect(heard.text).toBe(text);
    expect(heard.error).toMatchObject({ failure: 'truncated' });
  });

  it('by bytes that are no UTF-8 gives the text so far and an error', async () => {
    const wrong = Buffer.concat([Buffer.from('data: {"a":"'), Buffer.from([0xff, 0xfe])]);
    const heard = await read([begun, wrong, Buffer.from(`"}\n\n${events.slice(2).join('')}`)]);
    expect(heard.text).toBe(text);
    expect(heard.error).toMatchObject({ failure: 'truncated' });
  });

  it('by a cut connection gives the text so far and an error', async () => {
    const heard = await read([begun], true);
    expect(heard.text).toBe(text);
    expect(heard.error).toMatchObject({ failure: 'truncated' });
  });

  it('by an event without an end gives an error before the memory is full', async () => {
    let sentMegabytes = 0;
    const endless = (function* () {
      yield `${begun}data: `;
      for (; sentMegabytes < 100; sentMegabytes++) yield 'x'.repeat(1024 * 1024);
    })();
    const heard = await read(endless);
    expect(heard.text).toBe(text);
    expect(heard.error).toMatchObject({ failure: 'truncated' });
    expect(sentMegabytes).toBeLessThan(50);
  });
});

describe('the global fetch', () => {
  it('belongs to others while gemini is asked', async () => {
    const other = await startUpstream((_, response) => response.end('other'));
    const { url, requests } = await startUpstream((_, response) =>
      sendPieces(response, SSE, [SHAPES['LF']!]),
    );
    const own = globalThis.fetch;
    const provider = model(url);
    const heard = Array.from({ length: 20 }, () => {
      const answer = hear(provider, 'hello');
      expect(globalThis.fetch).toBe(own);
      return answer;
    });
    const fetched = Array.from({ length: 20 }, async (_, i) => {
      for (let turn = 0; turn < i; turn++) await Promise.resolve();
      return (await fetch(other.url)).text();
    });
    expect(await Promise.all(fetched)).toEqual(Array.from({ length: 20 }, () => 'other'));
    const texts = (await Promise.all(heard)).map(({ text }) => text);
    expect(texts).toEqual(Array.from({ length: 20 }, () => PIECES.join('')));
    expect(requests).toHaveLength(20);
    expect(other.requests).toHaveLength(20);
  });

  it.each([
    ['a value', (replacement: unknown) => ({ value: replacement, writable: true })],
    ['an accessor', (replacement: unknown) => ({ get: () => replacement })],
  ])('may be replaced by others, by %s, and is as it was afterwards', async (_, describeFetch) => {
    const { url } = await startUpstream((__, response) =>
      sendPieces(response, SSE, [SHAPES['LF']!]),
    );
    const own = Object.getOwnPropertyDescriptor(globalThis, 'fetch')!;
    const replaced = {
      ...describeFetch(() => Promise.reject(new Error('called by the provider'))),
      configurable: true,
      enumerable: true,
    };
    Object.defineProperty(globalThis, 'fetch', replaced);
    try {
      expect((await hear(model(url), 'hello')).text).toBe(PIECES.join(''));
      expect(Object.getOwnPropertyDescriptor(globalThis, 'fetch')).toMatchObject(replaced);
    } finally {
      Object.defineProperty(globalThis, 'fetch', own);
    }
  });
});

/** Describes the global `fetch` of a process, in which nobody can change it back. */
const FIXED_FETCH: Readonly<Record<string, string>> = {
  'a value that is read-only': '{ value: fetch, writable: false }',
  'an accessor': '{ get: () => own, set: undefined }',
};

describe('a global fetch that cannot be configured', () => {
  interface Asked {
    entries: { type: string; code?: string }[];
    status: unknown;
    events: { event: string; err?: { detail?: string } }[];
    requests: number;
  }

  /** Asks Gemini in a process whose global `fetch` has this description. */
  async function askWith(description: string): Promise<Asked> {
    const { url, requests } = await startUpstream((_, response) =>
      sendPieces(response, SSE, [SHAPES['LF']!]),
    );
    const code = `
      import { createLlmService } from '@rivulet/server';
      const own = fetch;
      Object.defineProperty(globalThis, 'fetch', { configurable: false, ...${description} });
      const llm = await createLlmService();
      const entries = [];
      for await (const entry of llm.generateResponseStream({ query: 'hello' })) entries.push(entry);
      console.log(JSON.stringify({ entries, status: llm.providerStatus(), isOwn: fetch === own }));`;
    const node = ['--conditions=@rivulet/source', '--import', 'tsx', '--input-type=module'];
    const env = { GEMINI_API_KEY: 'k', GEMINI_BASE_URL: url, LLM_MODE: 'api' };
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [...node, '-e', code], {
      cwd: new URL('../../packages/server/', import.meta.url),
      env: { ...process.env, ...env },
    });
    const { isOwn, ...asked } = JSON.parse(stdout) as Asked & { isOwn: boolean };
    expect(isOwn).toBe(true);
    const events = stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Asked['events'][0]);
    return { ...asked, events, requests: requests.length };
  }

  it.each(Object.entries(FIXED_FETCH))(
    'by %s is a wrong configuration, which the log and the status explain',
    async (_, description) => {
      const { entries, status, events, requests } = await askWith(description);
      expect(entries.at(-1)).toMatchObject({ type: 'error', code: 'provider_unavailable' });
      const advice = expect.stringMatching(/^Let `globalThis.fetch` be writable or configurable/);
      expect(status).toMatchObject([{ problem: { failure: 'misconfigured', advice } }]);
      const found = events.filter(({ event }) => event === 'LLM_PROVIDER_MISCONFIGURED');
      expect(found.length).toBeGreaterThan(0);
      for (const { err } of found)
        expect(err!.detail).toMatch(/global `fetch`.* use `languageModel/);
      expect(requests).toBe(0);
    },
  );

  it('but may be written, is no problem, and is as it was afterwards', async () => {
    const { entries, events } = await askWith('{ value: fetch, writable: true }');
    expect(entries.at(-1)).toMatchObject({ type: 'end' });
    expect(events.map(({ event }) => event)).not.toContain('LLM_PROVIDER_MISCONFIGURED');
  });

  it('is a wrong configuration also if the SDK has another one', async () => {
    const asked = responseOf(
      () => Promise.resolve({ response: Promise.resolve() }),
      () => Promise.reject(new Error('called')),
    );
    await expect(asked).rejects.toMatchObject({ name: 'ProviderError', failure: 'misconfigured' });
  });
});

describe('the turns that gemini is sent', () => {
  it('are those with text', async () => {
    const { url, requests } = await startUpstream((_, response) =>
      sendPieces(response, SSE, [SHAPES['LF']!]),
    );
    await hear(model(url), {
      ...toPrompt(''),
      messages: [
        { role: 'user', text: '' },
        { role: 'assistant', text: 'Welcome!' },
        { role: 'user', text: 'a' },
        { role: 'assistant', text: '' },
        { role: 'user', text: 'b' },
        { role: 'assistant', text: ' \n' },
        { role: 'user', text: 'c' },
      ],
    });
    expect(requests[0]!.body).toHaveProperty('contents', [
      { role: 'model', parts: [{ text: 'Welcome!' }] },
      { role: 'user', parts: [{ text: 'a' }] },
      { role: 'user', parts: [{ text: 'b' }] },
      { role: 'user', parts: [{ text: 'c' }] },
    ]);
  });

  it('have no empty part, unless it is signed', async () => {
    const { url, requests } = await startUpstream((_, response) =>
      sendPieces(response, SSE, [SHAPES['LF']!]),
    );
    const functionCall = { name: 't', args: {} };
    const parts = [
      { text: '' },
      { text: '', thoughtSignature: 'c2ln' },
      { functionCall, thoughtSignature: 'c2ln' },
      { text: '', thought: true },
    ];
    const raw = { provider: 'gemini', model: 'gemini-2.0-flash', parts };
    const toolCalls = [{ callId: 'call-1', name: 't', arguments: {} }];
    await hear(model(url), {
      ...toPrompt(''),
      messages: [
        { role: 'user', text: 'a' },
        { role: 'assistant', text: '', toolCalls, raw },
        { role: 'tool', results: [{ callId: 'call-1', name: 't', result: 1 }] },
      ],
    });
    expect(requests[0]!.body).toHaveProperty('contents[1].parts', [parts[1], parts[2]]);
  });
});

describe('a turn of gemini that calls a tool', () => {
  const functionCall = { name: 't', args: {} };
  const parts = [
    { text: 'Which? ', thought: true },
    { text: 'Let ' },
    { text: 'me ' },
    { text: 'see.', thoughtSignature: 'c2ln' },
    { text: '' },
    { functionCall, thoughtSignature: 'c2ln' },
    { functionCall },
  ];
  const stream = [
    ...parts.map((part) => ({ candidates: [{ content: { parts: [part] } }] })),
    { candidates: [{ content: {}, finishReason: 'STOP' }] },
  ].map((data) => `data: ${JSON.stringify(data)}\n\n`);
  const tools = [{ name: 't', description: 'T.', parameters: { type: 'object' } }];

  it('is kept as it was, without thoughts and empty parts that are not signed', async () => {
    const { url } = await startUpstream((_, response) => sendPieces(response, SSE, stream));
    const { deltas } = await hear(model(url), { ...toPrompt('hello'), tools });
    expect(deltas.at(-1)).toMatchObject({
      type: 'finish',
      raw: {
        provider: 'gemini',
        model: 'gemini-2.0-flash',
        parts: [{ text: 'Let me ' }, parts[3], parts[5], parts[6]],
      },
    });
  });
});

describe('a refusal of gemini', () => {
  const words =
    'Generative Language API has not been used in project 123456789012 before or it is disabled.';
  const KEY = 'AIza-key-that-stays-here';

  it('tells the visitor nothing of the operator, and the log all but keys', async () => {
    const { url } = await startUpstream((_, response) => {
      response.writeHead(403, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ error: { code: 403, message: words } }));
    });
    const written: string[] = [];
    const write = (line: string): void => void written.push(line);
    const llm = serviceOf(gemini({ apiKey: KEY, model: 'gemini-2.5-flash', baseUrl: url }), {
      logger: pino({ base: null, level: 'trace' }, { write }),
    });
    const entries = await entriesOf(llm.generateResponseStream({ query: 'hi' }));
    expect(JSON.stringify(entries)).not.toMatch(/123456789012|GEMINI|403|127\.0\.0\.1/);
    expect(entries.at(-1)).toMatchObject({ type: 'error', code: 'provider_unavailable' });
    const log = written.join('');
    expect(log).toContain('project 123456789012');
    expect(log).toContain('Check GEMINI_API_KEY');
    expect(log).not.toContain(KEY);
  });

  it.each([301, 304, 307, 599])('may have any status, such as %i', async (status) => {
    const other = await startUpstream((_, response) => response.end());
    const { url } = await startUpstream((_, response) => {
      response.writeHead(status, { location: other.url });
      response.end();
    });
    const { error } = await hear(model(url), 'hello');
    expect(error).toMatchObject({ name: 'ProviderError', failure: 'unavailable', status });
    expect(other.requests).toEqual([]);
  });
});

describe('a long answer of gemini', () => {
  it('is not kept once it was read', async () => {
    const piece = 'x'.repeat(64 * 1024);
    let count = 0;
    const { url } = await startUpstream((_, response) =>
      sendPieces(
        response,
        SSE,
        (function* () {
          for (; count < 1_000; count++) yield `data: ${frame(piece)}\n\n`;
          yield `data: ${frame('.', { finishReason: 'STOP' })}\n\n`;
        })(),
      ),
    );
    const before = await heldBytes();
    let length = 0;
    let most = 0;
    for await (const delta of model(url).stream(toPrompt('hello'), new AbortController().signal)) {
      if (delta.type !== 'text') continue;
      length += delta.text.length;
      if (length % (250 * piece.length) === 0) most = Math.max(most, (await heldBytes()) - before);
    }
    expect(length).toBe(1_000 * piece.length + 1);
    expect(most).toBeLessThan(10 * 1024 * 1024);
  });
});
