import { readFileSync } from 'node:fs';
import { EVENT } from '@rivulet/protocol';
import { describe, expect } from 'vitest';
import { PLAIN } from './suite/answer.js';
import { it } from './suite/it.js';
import { connect } from './suite/peer.js';
import { messages, openReply } from './suite/shapes.js';

// Servers do not send the messages that PROTOCOL.md marks as drafts. This file checks their shapes.

const PROTOCOL = new URL('../../packages/protocol/PROTOCOL.md', import.meta.url);

/** The example of a section of PROTOCOL.md. */
function exampleOf(section: string): unknown {
  const text = readFileSync(PROTOCOL, 'utf8').split(`\n### ${section}\n`)[1] ?? '';
  return JSON.parse(/```json\n(.+?)\n```/s.exec(text)?.[1] ?? 'null');
}

describe('Drafts of requests', () => {
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

describe('Drafts of fields', () => {
  it('have a shape', () => {
    const { reply } = exampleOf('StreamReplyMessage') as { reply: object };
    openReply.parse({ ...reply, request_id: 'r-1' });
    const error = exampleOf('StreamErrorMessage') as object;
    messages.stream_error.parse({ ...error, request_id: 'r-1' });
  });
});
