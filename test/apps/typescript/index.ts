import { createClient, text } from '@rivulet/client';
import { injectAnswer } from '@rivulet/client/angular';
import { createChat } from '@rivulet/client/chat';
import { useAnswer as useInReact } from '@rivulet/client/react';
import { createAnswer as createInSolid } from '@rivulet/client/solid';
import { createAnswer as createInSvelte } from '@rivulet/client/svelte';
import { createMockClient } from '@rivulet/client/testing';
import { useAnswer as useInVue } from '@rivulet/client/vue';
import type { ErrorCode } from '@rivulet/protocol';
import * as schema from '@rivulet/protocol/schema';
import { createServer, mockProvider } from '@rivulet/server';

const client = createClient({ url: 'http://127.0.0.1:3000' });
client
  .stream({ query: 'What is a delta?' })
  .pipe(text())
  .subscribe((soFar) => soFar.length);

export const provider = mockProvider(() => [{ text: 'Where it ends.' }, { finish: 'stop' }]);
export const server = createServer({ port: 0, providers: [{ provider }] });
export const mock = createMockClient([{ type: 'end' }]);
export const chat = createChat(mock, { id: 'a' });
export const code: ErrorCode = 'stalled';
export const bindings = { injectAnswer, useInReact, createInSolid, createInSvelte, useInVue };
export { schema };
