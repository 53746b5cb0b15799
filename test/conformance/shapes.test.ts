import { EVENT, LIMITS } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { PLAIN } from './suite/answer.js';
import { it } from './suite/it.js';
import { connect, newId } from './suite/peer.js';

const units = (count: number): string => 'x'.repeat(count);
const user = (count: number) => ({ role: 'user', content: units(count) });
const start = (more: object): [string, object] => [EVENT.start, { query: PLAIN, ...more }];
const intent = (parameters: object) => start({ intent: { name: 'ask', parameters } });
const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [i, 1]));

/** The valid and invalid values of each field of a message. */
const REFUSED: Record<string, [event: string, body: unknown][]> = {
  'a message': [
    [EVENT.start, undefined],
    [EVENT.start, null],
    [EVENT.start, PLAIN],
    [EVENT.start, [{ query: PLAIN }]],
  ],
  query: [
    [EVENT.start, {}],
    start({ query: '' }),
    start({ query: ' \n\t' }),
    start({ query: 7 }),
    start({ query: units(LIMITS.queryUnits + 1) }),
  ],
  ids: ['session_id', 'stream_id', 'reader_id'].flatMap((name) => [
    start({ [name]: units(LIMITS.idUnits + 1) }),
    start({ [name]: 7 }),
  ]),
  window: [0, -1, 1.5, '8', LIMITS.windowUnits + 1].map((window) => start({ window })),
  offset: [-1, 0.5, '0', undefined].map((offset) => [EVENT.resume, { stream_id: 'A', offset }]),
  stream_id: [EVENT.resume, EVENT.ack, EVENT.cancel, EVENT.detach].map((event) => [
    event,
    { offset: 0 },
  ]),
  Intent: [
    start({ intent: {} }),
    start({ intent: { name: units(LIMITS.idUnits + 1) } }),
    intent(many(LIMITS.intentParameters + 1)),
    intent({ x: units(LIMITS.intentValueUnits + 1) }),
    intent({ [units(LIMITS.idUnits + 1)]: 1 }),
    intent({ x: { deep: 1 } }),
  ],
  ContextMessage: [
    start({ context: {} }),
    start({ context: [{ role: 'system', content: 'x' }] }),
    start({ context: [{ role: 'user' }] }),
    start({ context: Array.from({ length: LIMITS.contextMessages + 1 }, () => user(1)) }),
    start({ context: [user(LIMITS.contextUnits), user(1)] }),
  ],
  continue_text: [
    start({ continue_text: 7 }),
    start({ continue_text: units(LIMITS.contextUnits + 1) }),
  ],
  GenerateOptions: [
    { temperature: -0.1 },
    { temperature: 2.1 },
    { temperature: '1' },
    { top_p: 1.1 },
    { top_p: -1 },
    { top_k: 1.5 },
    { max_tokens: 'many' },
    { stop: 'END' },
    { stop: [''] },
    { stop: [units(LIMITS.stopUnits + 1)] },
    { stop: Array.from({ length: LIMITS.stopSequences + 1 }, String) },
    { seed: 1.5 },
    { seed: -1 },
    { seed: 2 ** 31 },
    { thoughts: 'yes' },
    { cache: 'never' },
  ].map((options) => start({ options })),
};

describe('Shapes', () => {
  it.for(Object.entries(REFUSED))('of %s that are wrong are refused', async ([, wrong]) => {
    const peer = await connect();
    for (const [event, body] of wrong) {
      const error = await peer.refused(event, body);
      expect([body, error.code]).toEqual([body, 'bad_request']);
    }
    expect(await peer.list()).toEqual([]);
  });

  it.for<[string, object]>([
    ['the longest query', { query: units(LIMITS.queryUnits) }],
    ['the most turns', { context: Array.from({ length: LIMITS.contextMessages }, () => user(1)) }],
    ['the longest context', { context: [user(LIMITS.contextUnits)] }],
    ['the longest text to continue', { continue_text: units(LIMITS.contextUnits) }],
    [
      'the largest intent',
      {
        intent: {
          name: units(LIMITS.idUnits),
          parameters: {
            ...many(LIMITS.intentParameters - 1),
            [units(LIMITS.idUnits)]: units(LIMITS.intentValueUnits),
          },
        },
      },
    ],
    ['the ends of what options may be', { options: { temperature: 2, top_p: 0, cache: 'reload' } }],
  ])('with %s are taken', async ([, body]) => {
    const peer = await connect();
    const id = newId();
    const reading = await peer.start({ query: PLAIN, stream_id: id, ...body });
    await peer.done(EVENT.cancel, { stream_id: id });
    await peer.inbox.ended(reading);
    expect(reading.id).toBe(id);
  });
});
