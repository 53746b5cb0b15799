import { mockProvider } from '@rivulet/server';
import { filter, firstValueFrom, lastValueFrom, ReplaySubject, toArray } from 'rxjs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import * as z from 'zod';
import { createPartialJson } from '../../packages/client/src/output/partial-json.js';
import { toRequest as toGemini } from '../../packages/server/src/providers/gemini/request.js';
import { toCallOptions } from '../../packages/server/src/providers/language-model/prompt.js';
import { toRequest as toOpenAi } from '../../packages/server/src/providers/openai/request.js';
import { deferred } from '../harness/deferred.js';
import { startServer } from '../harness/rivulet.js';
import { createStorage } from '../harness/storage.js';
import { sdk } from '../harness/sdk.js';
import { answer as say, runs } from '../harness/tools.js';
import { stage } from '../harness/stage.js';

const output = z.object({ city: z.string(), tags: z.array(z.string()) });
const ROME = { city: 'Rome', tags: ['old', 'big'] };

async function staged(options?: Parameters<typeof startServer>[1]) {
  const { provider, nextCall, calls } = stage();
  const server = await startServer(provider, options);
  return { server, nextCall, calls };
}

describe('an answer with an output', () => {
  it('is asked with the schema and without tools, and gives the validated value', async () => {
    const tools = [runs('height', () => 1)];
    const { server, nextCall } = await staged({ tools });
    const answer = sdk(server.url).start({ query: 'Where?', output });
    const call = await nextCall();
    expect(call.prompt.tools).toBeUndefined();
    expect(call.prompt.responseSchema).toMatchObject({ required: ['city', 'tags'] });
    expect(call.prompt.responseSchema).not.toHaveProperty('$schema');
    say(call, JSON.stringify(ROME));
    expectTypeOf(answer.output).resolves.toEqualTypeOf<{ city: string; tags: string[] }>();
    expect(await answer.output).toEqual(ROME);
    expect(await answer.result).toMatchObject({ status: 'done' });
  });

  it('gives the parts as they come; what is complete stays the same object', async () => {
    const { server, nextCall } = await staged();
    const answer = sdk(server.url).start({ query: 'Where?', output });
    const partials = new ReplaySubject<{ city?: string | undefined; tags?: unknown }>();
    answer.partial$.subscribe(partials);
    const call = await nextCall();
    call.say('{"tags":["old","big"],"ci');
    await firstValueFrom(partials.pipe(filter(({ tags }) => Array.isArray(tags))));
    call.say('ty":"Ro');
    await firstValueFrom(partials.pipe(filter(({ city }) => city === 'Ro')));
    call.say('me"}');
    call.finish();
    const told = await lastValueFrom(partials.pipe(toArray()));
    expect(told.at(-1)).toEqual(ROME);
    expect(told.map(({ city }) => city)).toEqual([undefined, 'Ro', 'Rome']);
    const withCity = told.filter(({ city }) => city !== undefined);
    expect(new Set(withCity.map(({ tags }) => tags)).size).toBe(1);
  });

  it('that does not validate is asked once more, past both caches, and then has its value', async () => {
    const { server, nextCall } = await staged();
    const storage = createStorage();
    const client = sdk(server.url, { cache: { storage } });
    const answer = client.start({ query: 'Where?', output });
    const { id } = answer;
    say(await nextCall(), '{"city":7}');
    say(await nextCall(), JSON.stringify(ROME));
    expect(await answer.output).toEqual(ROME);
    expect(answer.id).not.toBe(id);
    await expect.poll(() => storage.valuesOf('b:').length).toBe(1);
    const again = client.start({ query: 'Where?', output });
    expect(await again.output).toEqual(ROME);
    expect((await again.result).source).toBe('browser-cache');
    const elsewhere = sdk(server.url).start({ query: 'Where?', output });
    expect(await elsewhere.output).toEqual(ROME);
    expect((await elsewhere.result).source).toBe('server-cache');
  });

  it('that does not validate twice fails with `invalid_output`, has its text, and is not kept', async () => {
    const { server, nextCall, calls } = await staged();
    const client = sdk(server.url, { cache: { storage: createStorage() } });
    const ask = { query: 'Where?', output, options: { cache: 'reload' as const } };
    const answer = client.start(ask);
    say(await nextCall(), 'Rome');
    say(await nextCall(), '{"city":7}');
    const error = { code: 'invalid_output', partialText: '{"city":7}' };
    await expect(answer.output).rejects.toMatchObject(error);
    await expect(answer.result).rejects.toMatchObject(error);
    expect(answer.getSnapshot()).toMatchObject({ status: 'failed', text: '{"city":7}' });
    expect(calls).toHaveLength(2);
    const kept = client.start({ ...ask, options: { cache: 'only-if-cached' } });
    await expect(kept.output).rejects.toMatchObject({ code: 'not_found' });
  });

  it('has the schema in the keys of both caches', async () => {
    const { server, nextCall, calls } = await staged();
    const client = sdk(server.url, { cache: { storage: createStorage() } });
    const first = client.start({ query: 'Where?', output });
    say(await nextCall(), JSON.stringify(ROME));
    await first.output;
    const other = client.start({ query: 'Where?', output: { jsonSchema: { type: 'number' } } });
    say(await nextCall(), '7');
    expect(await other.output).toBe(7);
    expect(calls).toHaveLength(2);
  });

  it('takes a plain JSON Schema and its `validate`', async () => {
    const { server, nextCall } = await staged();
    const validate = (value: unknown): number => {
      if (typeof value === 'number') return value + 1;
      throw new TypeError('no number');
    };
    const answer = sdk(server.url).start({
      query: 'How many?',
      output: { jsonSchema: { type: 'number' }, validate },
    });
    const call = await nextCall();
    expect(call.prompt.responseSchema).toEqual({ type: 'number' });
    say(call, '7');
    expect(await answer.output).toBe(8);
  });

  it('is `unsupported` where no model has a JSON mode', async () => {
    const provider = mockProvider(() => [{ text: '{}' }, { finish: 'stop' }], {
      hasJsonMode: false,
    });
    const server = await startServer(provider);
    const answer = sdk(server.url).start({ query: 'Where?', output });
    await expect(answer.output).rejects.toMatchObject({ code: 'unsupported' });
  });

  it('that is cancelled rejects its output', async () => {
    const { server, nextCall } = await staged();
    const answer = sdk(server.url).start({ query: 'Where?', output });
    await nextCall();
    answer.cancel();
    await expect(answer.output).rejects.toMatchObject({ code: 'cancelled' });
    expect(await answer.result).toMatchObject({ status: 'cancelled' });
  });
});

describe('an answer that is being validated', () => {
  it('can be cancelled', async () => {
    const { server, nextCall } = await staged();
    const validated = deferred<number>();
    const validating = deferred();
    const validate = () => (validating.resolve(), validated.promise);
    const answer = sdk(server.url).start({
      query: 'How many?',
      output: { jsonSchema: { type: 'number' }, validate },
    });
    say(await nextCall(), '7');
    await validating.promise;
    answer.cancel();
    await expect(answer.output).rejects.toMatchObject({ code: 'cancelled' });
    expect(await answer.result).toMatchObject({ status: 'cancelled', text: '7' });
    validated.resolve(7);
  });
});

describe('partial JSON', () => {
  it('is what JSON.parse gives at the end, however the text is split', () => {
    const value = { a: 'x\n"ü😀', b: [1, -2.5e3, { c: [true, null] }, []], d: {}, e: '' };
    const text = JSON.stringify(value);
    for (let size = 1; size <= text.length; size++) {
      const json = createPartialJson();
      let newest: unknown;
      for (const part of Array.from(text)
        .join('')
        .match(new RegExp(`.{1,${size}}`, 'gsu')) ?? []) {
        newest = json.add(part);
      }
      expect(newest).toEqual(value);
    }
  });

  it('is nothing for what is no JSON, and changes no prototype', () => {
    expect(createPartialJson().add('Rome is')).toBeUndefined();
    createPartialJson().add('{"__proto__":{"polluted":true},"a":"');
    expect({}).not.toHaveProperty('polluted');
  });
});

describe('the schema of an output, for each provider', () => {
  const prompt = {
    system: '',
    messages: [{ role: 'user' as const, text: 'Where?' }],
    temperature: undefined,
    topP: undefined,
    topK: undefined,
    maxTokens: undefined,
  };
  const closed = {
    type: 'object',
    properties: { a: { type: 'array', items: { type: 'object', properties: {} } } },
    required: ['a'],
  };
  const optional = { type: 'object', properties: { a: { type: 'string' } } };

  it('is `responseJsonSchema` for Gemini', () => {
    const { generationConfig } = toGemini({ ...prompt, responseSchema: optional }, 'm', false);
    expect(generationConfig).toEqual({
      responseMimeType: 'application/json',
      responseJsonSchema: optional,
    });
  });

  it('is strict for OpenAI where all properties are required', () => {
    const formatOf = (responseSchema: object) =>
      toOpenAi({ ...prompt, responseSchema: { ...responseSchema } }, 'm', new Set())
        .response_format;
    expect(formatOf(optional)).toEqual({
      type: 'json_schema',
      json_schema: { name: 'answer', schema: optional, strict: false },
    });
    const deep = { ...closed, properties: { a: { type: 'array', items: optional } } };
    expect(formatOf(deep)).toMatchObject({ json_schema: { strict: false, schema: deep } });
    expect(formatOf(closed)).toMatchObject({
      json_schema: {
        strict: true,
        schema: {
          additionalProperties: false,
          properties: { a: { items: { additionalProperties: false } } },
        },
      },
    });
  });

  it('is `responseFormat` for the AI SDK', () => {
    const asked = { name: 'a', model: 'm' };
    const { signal } = new AbortController();
    const options = toCallOptions(
      { ...prompt, responseSchema: optional },
      asked,
      undefined,
      signal,
    );
    expect(options.responseFormat).toEqual({ type: 'json', schema: optional });
  });
});
