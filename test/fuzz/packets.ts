import { EVENT, LIMITS } from '@rivulet/protocol';
import fc from 'fast-check';

/** A payload of one WebSocket message: text, or bytes. */
export type Payload = string | Uint8Array;

const ids = fc.constantFrom('a', 'b', 'victim', '', 'x'.repeat(LIMITS.idUnits + 1), '__proto__');
const weird = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom(null, -1, 2 ** 53, 1e308, '', ' ', '\u0000', '\ud83e', '__proto__', [], {}, [[]]),
);

const anyOf = (value: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc.oneof({ arbitrary: value, weight: 24 }, { arbitrary: weird, weight: 1 });

/** The fields of all messages, each with a value that fits or one that does not. */
const message = fc.record(
  {
    query: anyOf(fc.string({ minLength: 1, maxLength: 40 })),
    stream_id: anyOf(ids),
    reader_id: anyOf(ids),
    session_id: anyOf(ids),
    call_id: anyOf(ids),
    offset: anyOf(fc.nat({ max: 200 })),
    window: anyOf(fc.constantFrom(1, 64, 65_536, LIMITS.windowUnits)),
    context: anyOf(
      fc.array(
        fc.record({
          role: anyOf(fc.constantFrom('user', 'assistant')),
          content: anyOf(fc.string()),
        }),
        { maxLength: 3 },
      ),
    ),
    intent: anyOf(fc.record({ name: fc.string(), parameters: fc.dictionary(fc.string(), weird) })),
    options: anyOf(
      fc.record(
        {
          temperature: anyOf(fc.double()),
          max_tokens: anyOf(fc.integer()),
          stop: anyOf(fc.array(fc.string(), { maxLength: 5 })),
          thoughts: anyOf(fc.boolean()),
          response_schema: anyOf(fc.dictionary(fc.string(), weird)),
          cache: anyOf(fc.constantFrom('default', 'reload', 'no-store')),
        },
        { requiredKeys: [] },
      ),
    ),
    client_tools: anyOf(
      fc.array(
        fc.record({ name: anyOf(fc.string()), description: fc.string(), parameters: weird }),
        {
          maxLength: 3,
        },
      ),
    ),
    continue_text: anyOf(fc.string()),
    epoch: anyOf(ids),
    attempt: anyOf(fc.nat({ max: 3 })),
    result: weird,
    error: weird,
    watch: anyOf(fc.boolean()),
  },
  { requiredKeys: ['query', 'stream_id', 'offset'] },
);

const { start, resume, ack, cancel, detach, list, toolReply } = EVENT;
const eventName = fc.oneof(
  { arbitrary: fc.constantFrom(start, resume, ack, cancel, detach, list, toolReply), weight: 20 },
  { arbitrary: fc.constantFrom<string>(...Object.values(EVENT)), weight: 1 },
  { arbitrary: fc.constantFrom('', '__proto__', 'constructor', 'toString'), weight: 1 },
);
const ackId = fc.option(fc.nat({ max: 1e15 }), { nil: '' });

/** An event of Socket.IO, mostly with the one argument that handlers take. */
const event = fc
  .tuple(
    ackId,
    eventName,
    fc.oneof(
      { arbitrary: fc.tuple(message), weight: 8 },
      { arbitrary: fc.array(weird, { maxLength: 3 }), weight: 1 },
    ),
  )
  .map(([id, name, args]) => `42${id}${JSON.stringify([name, ...args])}`);

const handshake = fc
  .record(
    {
      protocol: anyOf(fc.nat({ max: 3 })),
      browser_id: anyOf(fc.constant('a-browser-of-an-attacker')),
      token: anyOf(fc.string()),
      new_streams: anyOf(fc.boolean()),
      requests: anyOf(fc.array(fc.oneof(message, weird), { maxLength: 4 })),
    },
    { requiredKeys: [] },
  )
  .map((auth) => `40${JSON.stringify(auth)}`);

/** A packet of Socket.IO of any type, with wrong counts of attachments, namespaces and ids. */
const socketPacket = fc
  .tuple(
    fc.constantFrom('0', '1', '2', '3', '4', '5', '6', '9', ''),
    fc.constantFrom('', '1-', '0-', '99999999-', '-1-', '1-'.repeat(5)),
    fc.constantFrom('', '/,', '/other,', `/${'n'.repeat(200)},`, '/a?b=c,', ','),
    fc.constantFrom('', '0', '7', '99999999999999999999', '-3'),
    fc.oneof(
      weird.map((value) => JSON.stringify(value)),
      fc.string({ maxLength: 40 }),
    ),
  )
  .map((parts) => `4${parts.join('')}`);

/** A packet of Engine.IO of any type. */
const enginePacket = fc
  .tuple(
    fc.constantFrom('0', '1', '2', '3', '4', '5', '6', 'b', 'x', ''),
    fc.string({ maxLength: 60 }),
  )
  .map((parts) => parts.join(''));

const nested = fc
  .integer({ min: 100, max: 5_000 })
  .map((depth) => `42["${EVENT.start}",${'['.repeat(depth)}${']'.repeat(depth)}]`);

/** Socket.IO reserves these names: an event with one closes the connection. */
const reservedEvent = fc
  .tuple(fc.constantFrom('connect', 'disconnect', 'disconnecting', 'newListener'), message)
  .map((args) => `42${JSON.stringify(args)}`);

/** A valid text of which some characters were replaced, removed or repeated. */
const damaged = fc
  .tuple(event, fc.nat(), fc.nat({ max: 8 }), fc.string({ maxLength: 8 }))
  .map(([text, at, length, put]) => {
    const from = at % text.length;
    return text.slice(0, from) + put + text.slice(from + length);
  });

const anything: fc.Arbitrary<Payload> = fc.oneof(
  { arbitrary: damaged, weight: 4 },
  { arbitrary: socketPacket, weight: 3 },
  { arbitrary: handshake, weight: 1 },
  { arbitrary: reservedEvent, weight: 1 },
  { arbitrary: enginePacket, weight: 1 },
  { arbitrary: nested, weight: 1 },
  { arbitrary: fc.uint8Array({ maxLength: 200 }), weight: 1 },
);

/** The packets of one connection. The server closes it at the first one that is malformed. */
export const batch: fc.Arbitrary<Payload[]> = fc
  .tuple(fc.array(event, { maxLength: 40, size: 'max' }), fc.array(anything, { maxLength: 4 }))
  .map(([events, rest]) => [...events, ...rest]);
