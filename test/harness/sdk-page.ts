import { fileURLToPath } from 'node:url';
import type * as Rivulet from '@rivulet/client';
import type { Answer, AnswerSnapshot, CacheMode, Client } from '@rivulet/client';
import type * as Chats from '@rivulet/client/chat';
import type { Chat } from '@rivulet/client/chat';
import type { chatStoreTests as chatStoreTestsHere } from '@rivulet/client/testing';
import type { ServerOptions } from '@rivulet/server';
import type { TestPage } from './browsers.js';
import { build } from 'vite';
import type { createClientStorage as createClientStorageHere } from '../../packages/client/src/cache/client-storage.js';
import { onTestFinished } from 'vitest';
import { startServer } from './rivulet.js';
import { stage } from './stage.js';

declare global {
  /** In a page of `sdkPage()`. */
  var rivulet: typeof Rivulet;
  var createClientStorage: typeof createClientStorageHere;
  var chats: typeof Chats;
  var chatStoreTests: typeof chatStoreTestsHere;
  var client: Client;
  var chat: Chat;
  var answer: Answer;
}

const ENTRY = fileURLToPath(new URL('./sdk-entry.ts', import.meta.url));
const HTML = '<!doctype html><meta charset="utf-8"><script type="module" src="/sdk.js"></script>';

/**
 * A page that has the SDK and shows nothing, to be served by a Rivulet server as its `page`. A path that is a
 * key of `scripts` runs that script first.
 */
export async function sdkPage(
  scripts: Record<string, string> = {},
): Promise<NonNullable<ServerOptions['page']>> {
  const built = await build({
    configFile: false,
    logLevel: 'error',
    resolve: { conditions: ['@rivulet/source', 'module', 'browser'] },
    build: {
      write: false,
      minify: false,
      lib: { entry: ENTRY, formats: ['es'] },
      // The page serves one script, with the modules that the client loads lazily.
      rolldownOptions: { output: { codeSplitting: false } },
    },
  });
  const [bundle] = Array.isArray(built) ? built : [built];
  if (bundle === undefined || !('output' in bundle)) throw new Error('unable to build the SDK');
  const { code } = bundle.output[0];
  return (request, response) => {
    const isScript = request.url === '/sdk.js';
    response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html');
    const first = scripts[request.url ?? ''];
    response.end(isScript ? code : first === undefined ? HTML : `${HTML}<script>${first}</script>`);
  };
}

export type StagedOptions = Parameters<typeof startServer>[1];

/** A browser that nobody has used, and a server whose provider the test plays. */
export async function stagedBrowser<C extends { close(): Promise<unknown> }>(
  browser: { newContext(): Promise<C> },
  options: StagedOptions,
) {
  const { provider, calls, nextCall } = stage();
  const server = await startServer(provider, options);
  const context = await browser.newContext();
  onTestFinished(async () => void (await context.close()));
  return { server, context, calls, nextCall };
}

/** A new tab with a client of its own, `globalThis.client`. */
export async function openTab<P extends Pick<TestPage, 'goto' | 'evaluate'>>(
  context: { newPage(): Promise<P> },
  url: string,
): Promise<P> {
  const page = await context.newPage();
  await page.goto(url);
  await createClientIn(page);
  return page;
}

/** After a reload, too. */
export async function createClientIn(page: Pick<TestPage, 'evaluate'>): Promise<void> {
  await page.evaluate(() => {
    globalThis.client = rivulet.createClient({ cache: { namespace: 'me' } });
  });
}

/** Asks, as `globalThis.answer`. */
export function ask(
  page: Pick<TestPage, 'evaluate'>,
  query = 'What is a delta?',
  cache: CacheMode = 'default',
) {
  return page.evaluate(
    ([asked, mode]) => {
      globalThis.answer = client.start({ query: asked, options: { cache: mode } });
    },
    [query, cache] as const,
  );
}

/** Resumes the first running answer, as `globalThis.answer`. @returns its question. */
export function resume(page: Pick<TestPage, 'evaluate'>): Promise<string> {
  return page.evaluate(
    () =>
      new Promise<string>((resolve) => {
        client.active$.subscribe(([first]) => {
          if (first === undefined) return;
          globalThis.answer ??= client.resume(first.id);
          resolve(first.query);
        });
      }),
  );
}

/** @returns the snapshot of `globalThis.answer`, once it has that status and text. */
export function shown(
  page: Pick<TestPage, 'evaluate'>,
  until: Partial<Pick<AnswerSnapshot, 'status' | 'text'>>,
) {
  return page.evaluate(
    ({ status, text }) =>
      new Promise<Shown>((resolve) => {
        answer.state$.subscribe(({ error, tools, ...snapshot }) => {
          if (status !== undefined && snapshot.status !== status) return;
          if (text !== undefined && snapshot.text !== text) return;
          resolve({ ...snapshot, tools: [...tools], code: error?.code });
        });
      }),
    until,
  );
}

type Shown = Omit<AnswerSnapshot, 'error'> & { code: string | undefined };

/** @returns the entries of the user of the page in IndexedDB, by the first letter of their keys. */
export function stored(
  page: Pick<TestPage, 'evaluate'>,
  kind: 'b' | 'm' | 'j' | 'c' | 'n',
): Promise<[string, unknown][]> {
  return page.evaluate(
    (prefix) =>
      new Promise<[string, unknown][]>((resolve) => {
        const opening = indexedDB.open(`rivulet:${JSON.stringify([location.origin, 'me'])}`);
        opening.onsuccess = () => {
          const found: [string, unknown][] = [];
          const cursor = opening.result.transaction('answers').objectStore('answers').openCursor();
          cursor.onsuccess = () => {
            const { result } = cursor;
            if (result === null) {
              opening.result.close();
              return resolve(found);
            }
            const { key, value } = result;
            if (typeof key === 'string' && key.startsWith(prefix)) found.push([key, value]);
            result.continue();
          };
        };
      }),
    `${kind}:`,
  );
}
