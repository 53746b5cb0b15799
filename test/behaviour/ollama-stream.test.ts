import { describe, expect, it, vi } from 'vitest';
import { ollama } from '../../packages/server/src/providers/ollama/ollama.js';
import type {
  Delta,
  Provider,
  ToolDeclaration,
} from '../../packages/server/src/providers/provider.js';
import { hear, type Heard, startFake, toPrompt } from '../harness/fakes.js';
import { packetings, sendPieces, startUpstream } from '../harness/upstream.js';

const NDJSON = 'application/x-ndjson';
const PIECES = ['Grüße ', '🌊 ', 'a\n\u2028b\u0085\u0000c ', '日本'];

const line = (message: object, more: object = {}): string =>
  JSON.stringify({ model: 'm', message: { role: 'assistant', ...message }, done: false, ...more });
const last = line({ content: '' }, { done: true, done_reason: 'stop', eval_count: 4 });
const LINES = [...PIECES.map((content) => line({ content })), last];

const model = (url: string): Provider => ollama({ host: url, model: 'm' });

/** The answer to a body that comes in these pieces. */
async function read(pieces: Iterable<string | Uint8Array>, isCut = false): Promise<Heard> {
  const { url } = await startUpstream((_, response) => sendPieces(response, NDJSON, pieces, isCut));
  return hear(model(url), 'hello');
}

/** The answer to these contents, one a line. */
const contents = (...all: (string | null)[]): Promise<Heard> =>
  read([...all.map((content) => `${line({ content })}\n`), `${last}\n`]);

const WHOLE = { text: PIECES.join(''), error: undefined };
const facts = ({ text, error }: Heard) => ({ text, error });

const SHAPES: Readonly<Record<string, string>> = {
  LF: LINES.map((each) => `${each}\n`).join(''),
  CRLF: LINES.map((each) => `${each}\r\n`).join(''),
  'blank lines': LINES.map((each) => `\n${each}\n \n`).join(''),
  'no line end at the end': LINES.join('\n'),
  'lines without a message': LINES.map((each) => `{"model":"m","done":false}\n${each}\n`).join(''),
  'null for text': LINES.map(
    (each) => `${line({ content: null, tool_calls: null })}\n${each}\n`,
  ).join(''),
};

describe.each(Object.entries(SHAPES))('a stream of ollama with %s', (_, stream) => {
  it.each(packetings(stream))('is read %s', async (__, packets) => {
    expect(facts(await read(packets))).toEqual(WHOLE);
  });
});

describe('a stream of ollama that is broken', () => {
  const begun = `${LINES.slice(0, 2).join('\n')}\n`;
  const rest = `${LINES.slice(2).join('\n')}\n`;
  const soFar = PIECES.slice(0, 2).join('');

  it.each([
    ['in the middle of a line', begun + LINES[2]!.slice(0, -3)],
    ['between two lines', begun],
    ['by a line that is no JSON', `${begun}${LINES[2]!.slice(0, -2)}\n${rest}`],
    ['by a line that is no object', `${begun}17\n${rest}`],
    ['by a line of another protocol', `${begun}data: {}\n${rest}`],
  ])('%s gives the text so far and an error', async (_, stream) => {
    const warn = vi.spyOn(console, 'warn');
    for (const pieces of [[stream], stream.split(/(?<=\n)/)]) {
      const heard = await read(pieces);
      expect(heard.text).toBe(soFar);
      expect(heard.error).toMatchObject({ failure: 'truncated' });
    }
    expect(warn).not.toHaveBeenCalled();
    warn.mockRestore();
  });

  it('by bytes that are no UTF-8 gives the text so far and an error', async () => {
    const wrong = Buffer.from([0x22, 0xff, 0xfe, 0x22]);
    for (const pieces of [[begun, wrong, rest], [Buffer.concat([Buffer.from(begun), wrong])]]) {
      const heard = await read(pieces);
      expect(heard.text).toBe(soFar);
      expect(heard.error).toMatchObject({ failure: 'truncated' });
    }
  });

  it('by a cut connection gives the text so far and an error', async () => {
    const heard = await read([begun], true);
    expect(heard.text).toBe(soFar);
    expect(heard.error).toMatchObject({ failure: 'truncated' });
  });

  it('by a line without an end gives an error before the memory is full', async () => {
    let sentMegabytes = 0;
    const endless = (function* () {
      yield begun;
      for (; sentMegabytes < 100; sentMegabytes++) yield 'x'.repeat(1024 * 1024);
    })();
    const heard = await read(endless);
    expect(heard.text).toBe(soFar);
    expect(heard.error).toMatchObject({ failure: 'truncated' });
    expect(sentMegabytes).toBeLessThan(50);
  });

  it('gives the text of the line that has no reason for its end', async () => {
    const heard = await read([begun, `${line({ content: 'more' }, { done: true })}\n`]);
    expect(heard.text).toBe(`${soFar}more`);
    expect(heard.error).toMatchObject({ failure: 'truncated' });
  });
});

describe('an answer of ollama whose body does not end', () => {
  it('is finished by its last line, and its connection is closed', async () => {
    let hasClosed = false;
    const { url } = await startUpstream((_, response) => {
      response.on('close', () => (hasClosed = true));
      response.writeHead(200, { 'content-type': NDJSON });
      response.write(`${LINES.join('\n')}\n`);
    });
    const heard = await hear(model(url), 'hello');
    expect(facts(heard)).toEqual(WHOLE);
    expect(heard.deltas.at(-1)).toMatchObject({ type: 'finish', reason: 'stop' });
    await expect.poll(() => hasClosed).toBe(true);
  });
});

describe('<think> in the content of ollama', () => {
  const parts = ({ deltas }: Heard): unknown => {
    const joined: Record<string, string> = {};
    for (const delta of deltas) {
      if (delta.type !== 'text' && delta.type !== 'thought') continue;
      joined[delta.type] = (joined[delta.type] ?? '') + delta.text;
    }
    return joined;
  };

  it.each([
    ['<think>a < b</think>Blue.', { thought: 'a < b', text: 'Blue.' }],
    [
      '\n <think>\nThe user is odd.\n</think>\n\nBlue.',
      { thought: 'The user is odd.\n', text: 'Blue.' },
    ],
    ['<think></think>Blue.', { text: 'Blue.' }],
    ['<think>a</thin b</think>Blue.', { thought: 'a</thin b', text: 'Blue.' }],
    ['<think>a</think>Blue <think>b</think>.', { thought: 'a', text: 'Blue <think>b</think>.' }],
    ['<think>a</think><think>b</think>', { thought: 'a', text: '<think>b</think>' }],
    ['Blue. <think>a</think>', { text: 'Blue. <think>a</think>' }],
    ['<thinking>a</thinking>', { text: '<thinking>a</thinking>' }],
    ['a</think>Blue.', { text: 'a</think>Blue.' }],
    ['<thin', { text: '<thin' }],
    [' < b', { text: ' < b' }],
  ])('%j is sorted, wherever its pieces begin', async (content, sorted) => {
    expect(parts(await contents(content))).toEqual(sorted);
    expect(parts(await contents(...content.split('')))).toEqual(sorted);
    for (let at = 1; at < content.length; at++) {
      expect(parts(await contents(content.slice(0, at), content.slice(at)))).toEqual(sorted);
    }
  });

  it('that is never closed is thoughts, and the answer has no text', async () => {
    const heard = await contents('<think>I wonder', ' whether</', 'thin');
    expect(parts(heard)).toEqual({ thought: 'I wonder whether</thin' });
    expect(heard.text).toBe('');
  });

  it('is thoughts as they come', async () => {
    const { deltas } = await contents('<think>', 'one ', 'two ', '</think>', 'Blue.');
    expect(deltas.slice(0, -1)).toEqual([
      { type: 'thought', text: 'one ' },
      { type: 'thought', text: 'two ' },
      { type: 'text', text: 'Blue.' },
    ] satisfies Delta[]);
  });

  it('leaves white space alone that no tag follows', async () => {
    expect((await contents(' ', '\n', 'Blue.')).text).toBe(' \nBlue.');
    const spaces = ' '.repeat(3_000);
    expect((await contents(...spaces.split(''), 'Blue.')).text).toBe(`${spaces}Blue.`);
  });
});

describe('a model of ollama without thinking and tools', () => {
  const tools: ToolDeclaration[] = [
    { name: 't', description: 'T.', parameters: { type: 'object' } },
  ];
  const wish = { ...toPrompt('echo'), thoughts: true, tools } as const;

  it('is asked for neither after it has refused both, whoever asks', async () => {
    const fake = await startFake('ollama');
    const stories = ollama({ host: fake.url, model: 'stories' });
    const all = await Promise.all([hear(stories, wish), hear(stories, wish)]);
    for (const { text, error } of all) {
      expect(error).toBeUndefined();
      expect(JSON.parse(text)).not.toHaveProperty('think');
      expect(JSON.parse(text)).not.toHaveProperty('tools');
    }
    const { requests } = await fake.stats();
    expect(requests).toBe(6);
    await hear(stories, wish);
    expect(await fake.stats()).toMatchObject({ requests: requests + 1 });
    await fake.stop();
  });

  it('keeps what it has: another model is asked for both', async () => {
    const fake = await startFake('ollama');
    const { text } = await hear(ollama({ host: fake.url, model: 'qwen3:0.6b' }), wish);
    expect(JSON.parse(text)).toMatchObject({ think: true, tools: [{ type: 'function' }] });
    expect(await fake.stats()).toMatchObject({ requests: 1 });
    await fake.stop();
  });

  it('that refuses without end is given up', async () => {
    const error = 'registry.ollama.ai/library/m does not support tools';
    const { url, requests } = await startUpstream((_, response) => {
      response.writeHead(400, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ error }));
    });
    expect((await hear(model(url), wish)).error).toMatchObject({ failure: 'bad_request' });
    // A slow machine may also get the request that checks if the model is loaded.
    expect(requests.filter(({ path }) => path === '/api/chat')).toHaveLength(2);
  });
});
