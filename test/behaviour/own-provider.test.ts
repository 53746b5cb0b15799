import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ownModel } from '../examples/own-model.js';
import { hear, toPrompt } from '../harness/fakes.js';
import { entriesOf, serviceOf, textOf } from '../harness/service.js';
import { sendPieces, startUpstream } from '../harness/upstream.js';

const ROOT = new URL('../../', import.meta.url);

describe('the example of a provider', () => {
  it('stands in the documentation as it is tested, and has 15 lines', () => {
    const example = readFileSync(new URL('test/examples/own-model.ts', ROOT), 'utf8');
    const page = readFileSync(new URL('docs/providers.md', ROOT), 'utf8');
    expect(page).toContain(example);
    expect(example.slice(example.indexOf('export')).trim().split('\n')).toHaveLength(15);
  });

  it('streams an answer', async () => {
    const pieces = ['Hel', 'lo, 🌊', ' world'];
    const { url, requests } = await startUpstream((_, response) =>
      sendPieces(response, 'text/plain', pieces),
    );
    const llm = serviceOf(ownModel(url, 'm'));
    const entries = await entriesOf(llm.generateResponseStream({ query: 'hi' }));
    expect(textOf(entries)).toBe(pieces.join(''));
    expect(entries.at(-1)).toMatchObject({ type: 'end', provider: 'own', finishReason: 'stop' });
    expect(requests).toMatchObject([{ body: { model: 'm', messages: [{ text: 'hi' }] } }]);
  });

  it('fails as "unavailable" where the model is away', async () => {
    const { url } = await startUpstream((_, response) => response.writeHead(503).end());
    expect((await hear(ownModel(url, 'm'), 'hi')).error).toMatchObject({ failure: 'unavailable' });
  });

  it('stops the model when its reader leaves', async () => {
    let isClosed = false;
    const { url } = await startUpstream((_, response) => {
      response.on('close', () => (isClosed = true));
      response.write('Hello');
    });
    const left = new Error('the reader left');
    const reader = new AbortController();
    const reading = (async () => {
      for await (const _ of ownModel(url, 'm').stream(toPrompt('hi'), reader.signal)) {
        reader.abort(left);
      }
    })();
    await expect(reading).rejects.toBe(left);
    await expect.poll(() => isClosed).toBe(true);
  });
});
