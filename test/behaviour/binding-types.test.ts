import type { Answer, AnswerSnapshot, Client, OutputAnswer, StreamError } from '@rivulet/client';
import { injectAnswer } from '@rivulet/client/angular';
import { type AnswerState, useAnswer as useReact } from '@rivulet/client/react';
import { createAnswer as createSolid } from '@rivulet/client/solid';
import { createAnswer as createSvelte } from '@rivulet/client/svelte';
import { createMockClient } from '@rivulet/client/testing';
import { useAnswer as useVue } from '@rivulet/client/vue';
import { describe, expect, expectTypeOf, it } from 'vitest';
import * as z from 'zod';

const output = z.object({ city: z.string() });
const BINDINGS = {
  react: useReact,
  vue: useVue,
  svelte: createSvelte,
  angular: injectAnswer,
  solid: createSolid,
};

// The compiler checks them: `npm run check`.
describe('`ask` of a binding', () => {
  it('has the type of its output', () => {
    const typed = {
      react: (client: Client) => useReact(client).ask({ query: 'Where?', output }),
      vue: (client: Client) => useVue(client).ask({ query: 'Where?', output }),
      svelte: (client: Client) => createSvelte(client).ask({ query: 'Where?', output }),
      angular: (client: Client) => injectAnswer(client).ask({ query: 'Where?', output }),
      solid: (client: Client) => createSolid(client).ask({ query: 'Where?', output }),
    };
    type Typed = (client: Client) => OutputAnswer<{ city: string }> | undefined;
    expect(Object.keys(typed)).toEqual(Object.keys(BINDINGS));
    expectTypeOf(typed).toEqualTypeOf<Record<keyof typeof BINDINGS, Typed>>();
  });
});

describe('`resume` of a binding', () => {
  it('takes what `client.resume` takes', () => {
    const resumes = {
      react: (client: Client) => useReact(client).resume,
      vue: (client: Client) => useVue(client).resume,
      svelte: (client: Client) => createSvelte(client).resume,
      angular: (client: Client) => injectAnswer(client).resume,
      solid: (client: Client) => createSolid(client).resume,
    };
    type Resume = (...given: Parameters<Client['resume']>) => Answer | undefined;
    expect(Object.keys(resumes)).toEqual(Object.keys(BINDINGS));
    expectTypeOf(resumes).toEqualTypeOf<
      Record<keyof typeof BINDINGS, (client: Client) => Resume>
    >();
  });
});

it('the status `failed` of a snapshot, and of the state of a view, means that there is an error', () => {
  expectTypeOf<
    Extract<AnswerSnapshot, { status: 'failed' }>['error']
  >().toEqualTypeOf<StreamError>();
  expectTypeOf<Extract<AnswerState, { status: 'failed' }>['error']>().toEqualTypeOf<StreamError>();
  expectTypeOf<Exclude<AnswerState, { status: 'failed' }>['error']>().toEqualTypeOf<undefined>();
  const messageOf = (state: AnswerState): string =>
    state.status === 'failed' ? state.error.message : state.text;
  expect(messageOf({ ...createMockClient([]).start({ query: 'q' }).getSnapshot() })).toBe('');
});
