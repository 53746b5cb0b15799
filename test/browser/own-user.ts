import { type AnswerOptions, type Client, type ClientOptions, createClient } from '@rivulet/client';
import { createStore, entries, type UseStore } from 'idb-keyval';
import { beforeEach, expect, inject, onTestFinished, vi } from 'vitest';

/** Another user in each test: what one keeps, no other sees. */
let namespace: string;
beforeEach(() => {
  namespace = crypto.randomUUID();
});

export const ownNamespace = (): string => namespace;

/** A client of the test's user. Its socket is new, so that it must connect if it is to ask. */
export function open({ cache = {}, ...options }: ClientOptions = {}): Client {
  const own = cache && { namespace, ...cache };
  const client = createClient({ url: inject('url'), cache: own, ...options });
  onTestFinished(() => client.close());
  return client;
}

export async function ask(client: Client, query: string, options: AnswerOptions = {}) {
  const { text, source } = await client.start({ query, options }).result;
  return { text, source };
}

/** The entries of the test's user in IndexedDB. */
export const ownStore = (url = inject('url')): UseStore =>
  createStore(`rivulet:${JSON.stringify([url, namespace])}`, 'answers');

/** Of the kept answers, without the count before them. */
export async function keptQuestions(): Promise<string[]> {
  const answers = (await entries<string, { text: string }>(ownStore())).filter(([key]) =>
    key.startsWith('b:'),
  );
  return answers.map(([, { text }]) => text.replace(/^\d+: /, '')).sort();
}

/** Once these are in IndexedDB, and no other. */
export async function kept(...questions: string[]): Promise<void> {
  await vi.waitFor(async () => expect(await keptQuestions()).toEqual(questions.sort()));
}

/** Waits until the page has finished its other work. */
export const idle = (): Promise<unknown> => new Promise((resolve) => requestIdleCallback(resolve));

/** @returns true if a key of IndexedDB is a text with this prefix. */
export const hasPrefix = (key: unknown, prefix: string): boolean =>
  typeof key === 'string' && key.startsWith(prefix);
