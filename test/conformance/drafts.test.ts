import { readFileSync } from 'node:fs';
import { EVENT, LIMITS } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { answered, PLAIN } from './suite/answer.js';
import { it } from './suite/it.js';
import { connect, newId } from './suite/peer.js';
import { messages, openReply, toolDecision } from './suite/shapes.js';

// What PROTOCOL.md marks as a draft is not sent yet: its shapes are checked, and what a server says
// to a request that uses it.

const PROTOCOL = new URL('../../packages/protocol/PROTOCOL.md', import.meta.url);

/** The example of a section of PROTOCOL.md. */
function exampleOf(section: string): unknown {
  const text = readFileSync(PROTOCOL, 'utf8').split(`\n### ${section}\n`)[1] ?? '';
  return JSON.parse(/```json\n(.+?)\n```/s.exec(text)?.[1] ?? 'null');
}

const units = (count: number): string => 'x'.repeat(count);
const weather = {
  name: 'weather',
  description: 'Tells the weather.',
  parameters: { type: 'object', properties: { city: { type: 'string' } } },
};

describe('Drafts of requests', () => {
  it.for<[string, object, object[]]>([
    [
      'client_tools',
      { client_tools: [weather] },
      [
        { client_tools: weather },
        { client_tools: [{ ...weather, name: 'the weather' }] },
        { client_tools: [{ ...weather, name: units(LIMITS.toolNameUnits + 1) }] },
        { client_tools: [{ ...weather, description: units(LIMITS.toolDescriptionUnits + 1) }] },
        { client_tools: [{ ...weather, parameters: { x: units(LIMITS.toolSchemaUnits) } }] },
        { client_tools: Array.from({ length: LIMITS.clientTools + 1 }, () => weather) },
      ],
    ],
    [
      'response_schema',
      { options: { response_schema: { type: 'object' } } },
      [
        { options: { response_schema: 'object' } },
        { options: { response_schema: { x: units(LIMITS.responseSchemaUnits) } } },
      ],
    ],
  ])('have a shape: %s', async ([, right, wrong]) => {
    const peer = await connect();
    const refused = await peer.refused(EVENT.start, { query: PLAIN, ...right });
    expect(refused.code).toBe('unsupported');
    for (const body of wrong) {
      const error = await peer.refused(EVENT.start, { query: PLAIN, ...body });
      expect([body, error.code]).toEqual([body, 'bad_request']);
    }
  });

  it('that change the answer are refused as `unsupported`', async () => {
    const peer = await connect();
    for (const draft of [
      { client_tools: [weather] },
      { options: { response_schema: { type: 'object' } } },
    ]) {
      const error = await peer.refused(EVENT.start, { query: PLAIN, ...draft });
      expect([draft, error.code]).toEqual([draft, 'unsupported']);
    }
    expect(await peer.list()).toEqual([]);
  });

  it('with parts that are not text are `unsupported`, whatever they are', async () => {
    const image = [{ type: 'image', url: 'https://example.com/cat.png' }];
    const peer = await connect();
    for (const body of [
      { query: image },
      { query: [] },
      { query: PLAIN, context: [{ role: 'user', content: image }] },
      {
        query: PLAIN,
        context: [
          { role: 'user', content: 'x' },
          { role: 'user', content: [7] },
        ],
      },
    ]) {
      expect((await peer.refused(EVENT.start, body)).code).toBe('unsupported');
    }
  });
});

describe('StreamToolReplyRequest', () => {
  const about = { stream_id: 'A', call_id: 'call-1' };

  it('has exactly one answer', async () => {
    const peer = await connect();
    for (const right of [{ approved: false }, { result: { ok: 1 } }, { error: 'no' }]) {
      expect((await peer.refused(EVENT.toolReply, { ...about, ...right })).code).toBe('not_found');
    }
    for (const wrong of [
      {},
      { approved: true, result: 1 },
      { approved: 'yes' },
      { error: units(LIMITS.toolErrorUnits + 1) },
      { result: units(LIMITS.toolResultUnits) },
    ]) {
      const error = await peer.refused(EVENT.toolReply, { ...about, ...wrong });
      expect(error.code).toBe('bad_request');
    }
  });

  it('is refused by a server without such tools, and changes nothing', async () => {
    const { auth, id, units: log } = await answered();
    const peer = await connect({ auth });
    const reply = { stream_id: id, call_id: 'call-1', approved: true };
    expect((await peer.refused(EVENT.toolReply, reply)).code).toBe('unsupported');
    const unknown = { ...reply, stream_id: newId() };
    expect((await peer.refused(EVENT.toolReply, unknown)).code).toBe('not_found');
    expect((await peer.refused(EVENT.toolReply, {})).code).toBe('bad_request');
    const late = await peer.resume({ stream_id: id, offset: 0 });
    await peer.inbox.ended(late);
    expect(late.units).toEqual(log);
  });
});

// A test for each: PROTOCOL.md's own example against the shapes of this suite.
describe('StreamToolDecisionMessage', () => {
  it('has a shape', () => void toolDecision.parse(exampleOf('StreamToolDecisionMessage')));
});
describe('Drafts of fields', () => {
  it('have a shape', () => {
    const call = exampleOf('StreamToolCallMessage') as object;
    for (const awaits of ['result', 'approval']) messages.stream_tool.parse({ ...call, awaits });
    const { reply } = exampleOf('StreamReplyMessage') as { reply: object };
    openReply.parse({ ...reply, status: 'paused', request_id: 'r-1' });
    const error = exampleOf('StreamErrorMessage') as object;
    messages.stream_error.parse({ ...error, request_id: 'r-1' });
  });
});
