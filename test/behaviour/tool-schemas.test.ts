import { defineTool, type Tool, type ToolSchema } from '@rivulet/server';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { toGeminiSchema } from '../../packages/server/src/providers/gemini/schema.js';
import { complaint } from '../fakes/gemini-tools.js';

/** A schema of another library, which says this of itself. */
function raw(schema: object): ToolSchema {
  const jsonSchema = () => schema as Record<string, unknown>;
  return {
    '~standard': {
      version: 1,
      vendor: 'own',
      validate: (value) => ({ value }),
      jsonSchema: { input: jsonSchema, output: jsonSchema },
    },
  };
}

const property = (schema: unknown, more: object = {}): ToolSchema =>
  raw({ type: 'object', properties: { x: schema }, ...more });

const tool = (parameters: ToolSchema): Tool =>
  defineTool({ name: 't', description: 'T.', parameters, execute: () => 0 });

/** The schema of the property `x` in the request to Gemini. */
const told = (parameters: ToolSchema): unknown =>
  toGeminiSchema(tool(parameters).parameters)?.properties?.['x'];

const AB = { type: 'string', enum: ['a', 'b'] };
const TEXT = { type: 'string' };

const PROPERTIES: readonly (readonly [string, ToolSchema, unknown])[] = [
  [
    'an enum with an empty text',
    z.object({ x: z.enum(['', 'a', 'b']) }),
    { ...AB, description: 'It may be empty.' },
  ],
  [
    'an empty literal',
    z.object({ x: z.literal('') }),
    { ...TEXT, description: 'It may be empty.' },
  ],
  [
    'a nullable enum with an empty text',
    z.object({ x: z.enum(['', 'a', 'b']).nullable() }),
    { ...AB, description: 'It may be empty.', nullable: true },
  ],
  ['an enum without values', property({ ...TEXT, enum: [] }), TEXT],
  [
    'an enum with null',
    property({ type: ['string', 'null'], enum: ['a', 'b', null] }),
    { ...AB, nullable: true },
  ],
  [
    'an enum with null and one type',
    property({ ...AB, enum: ['a', null, 'b'] }),
    { ...AB, nullable: true },
  ],
  ['null', property({ type: 'null' }), { ...TEXT, nullable: true }],
  ['a constant null', property({ const: null }), { ...TEXT, nullable: true }],
  [
    'literals of several types',
    z.object({ x: z.literal(['auto', 1, true]) }),
    { ...TEXT, description: 'One of: auto, 1, true.' },
  ],
  [
    'a union with a description',
    z.object({ x: z.union([z.string(), z.number()]).describe('The id.') }),
    {
      anyOf: [
        { ...TEXT, description: 'The id.' },
        { type: 'number', description: 'The id.' },
      ],
    },
  ],
  [
    'a union with null',
    z.object({ x: z.union([z.string(), z.number(), z.null()]) }),
    {
      anyOf: [
        { ...TEXT, nullable: true },
        { type: 'number', nullable: true },
      ],
    },
  ],
  [
    'alternatives that only require',
    property({
      type: 'object',
      properties: { a: TEXT, b: TEXT },
      anyOf: [{ required: ['a'] }, { required: ['b', 'c'] }],
    }),
    {
      anyOf: [
        { type: 'object', properties: { a: TEXT, b: TEXT }, required: ['a'] },
        { type: 'object', properties: { a: TEXT, b: TEXT }, required: ['b'] },
      ],
    },
  ],
  ['no alternatives', property({ anyOf: [] }), TEXT],
  ['an alternative that takes anything', property({ anyOf: [true, AB] }), { anyOf: [TEXT, AB] }],
  [
    'an intersection',
    z.object({ x: z.intersection(z.object({ a: z.string() }), z.object({ b: z.string() })) }),
    { type: 'object', properties: { a: TEXT, b: TEXT }, required: ['a', 'b'] },
  ],
  [
    'one reference in an allOf',
    raw({
      type: 'object',
      properties: { x: { allOf: [{ $ref: '#/$defs/M' }], description: 'The mode.' } },
      $defs: { M: AB },
    }),
    { ...AB, description: 'The mode.' },
  ],
  [
    'required names without properties',
    property({ type: 'object', required: ['a'] }),
    { type: 'object' },
  ],
  [
    'properties without a type',
    property({ properties: { a: TEXT }, required: ['a'] }),
    { type: 'object', properties: { a: TEXT }, required: ['a'] },
  ],
  ['true', property(true), TEXT],
  ['a negation', property({ not: { type: 'string' } }), TEXT],
  ['an array of anything', property({ type: 'array' }), { type: 'array', items: TEXT }],
  ['an array with true', property({ type: 'array', items: true }), { type: 'array', items: TEXT }],
  [
    'a nullable array',
    property({ type: ['array', 'null'], items: AB }),
    { type: 'array', items: AB, nullable: true },
  ],
  ['an empty tuple', property({ type: 'array', prefixItems: [] }), { type: 'array', items: TEXT }],
];

describe('a tool whose parameter is', () => {
  it.each(PROPERTIES)('%s is told in words that gemini takes', (_, parameters, schema) => {
    expect(told(parameters)).toEqual(schema);
    const { name, parameters: declared } = tool(parameters);
    const functionDeclarations = [{ name, parameters: { ...toGeminiSchema(declared) } }];
    expect(complaint({ tools: [{ functionDeclarations }] })).toBeUndefined();
  });

  it('required, but not declared, is not required of gemini', () => {
    const { parameters } = tool(property(AB, { required: ['x', 'y'] }));
    expect(toGeminiSchema(parameters)).toEqual({
      type: 'object',
      properties: { x: AB },
      required: ['x'],
    });
  });
});

describe('a tool whose parameters are', () => {
  const both = { type: 'object', properties: { a: TEXT, b: TEXT }, required: ['a', 'b'] };

  it('an intersection are those of both', () => {
    const { parameters } = tool(
      z.intersection(z.object({ a: z.string() }), z.object({ b: z.string() })),
    );
    expect(parameters).toMatchObject(both);
    expect(toGeminiSchema(parameters)).toEqual(both);
  });

  it('an object with alternatives are told without those', () => {
    const alternatives = { anyOf: [{ required: ['a'] }, { required: ['b'] }] };
    expect(toGeminiSchema(tool(raw({ ...both, ...alternatives })).parameters)).toEqual(both);
  });

  it('without a property that is never there, and with objects for `true`, are what ollama reads', () => {
    const { parameters } = tool(
      raw({ type: 'object', properties: { a: true, b: false, c: { items: true } } }),
    );
    expect(parameters).toEqual({ type: 'object', properties: { a: {}, c: { items: {} } } });
  });

  it.each([
    ['a union', z.union([z.object({ a: z.string() }), z.object({ b: z.string() })]), /no object/],
    ['a list', raw({ type: 'array', items: TEXT }), /no object/],
    ['recursive', property({ $ref: '#' }), /contains itself/],
    ['a reference to nothing', property({ $ref: '#/$defs/y' }), /which is not in it/],
  ])('%s is refused when it is defined', (_, parameters, message) => {
    expect(() => tool(parameters)).toThrow(message);
  });
});
