import type { ActiveAnswer } from '@rivulet/client';
import type { Browser, Page } from 'playwright';
import type { Subject } from 'rxjs';
import { build } from 'vite';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { launchChromium } from '../harness/chromium.js';
import { listSnippets } from '../harness/snippets.js';

declare global {
  var active$: Subject<readonly Pick<ActiveAnswer, 'id'>[]>;
  var resumed: string[];
}

const ORIGIN = 'http://app.test/';
/** The client of the components: the first question fails, and `resume` notes the id. */
const RIVULET = `
  import { createMockClient } from '@rivulet/client/testing';
  import { Subject } from 'rxjs';
  const failing = [{ type: 'text', text: 'Half' }, { type: 'error', code: 'stalled' }];
  const whole = [{ type: 'text', text: 'Whole' }, { type: 'end' }];
  let count = 0;
  const mock = createMockClient(() => (count++ === 0 ? failing : whole));
  globalThis.active$ = new Subject();
  globalThis.resumed = [];
  const resume = (id) => (resumed.push(id), mock.resume(id));
  export const client = { ...mock, active$, resume };
`;
const entryOf = (name: string): string => `
  import { createElement } from 'react';
  import { createRoot } from 'react-dom/client';
  import { ${name} } from './component';
  const target = document.body.appendChild(document.createElement('div'));
  createRoot(target).render(createElement(${name}));
`;

/** The script of a page that shows a component of docs/frameworks.md. */
async function scriptOf(name: string): Promise<string> {
  const component = listSnippets().find(
    ({ place, code }) =>
      place.startsWith('docs/frameworks.md') && code.includes(`export function ${name}()`),
  );
  const root = `${import.meta.dirname}/`;
  const files = new Map([
    [`${root}entry.ts`, entryOf(name)],
    [`${root}component.tsx`, component!.code],
    [`${root}rivulet.ts`, RIVULET],
  ]);
  const built = await build({
    configFile: false,
    logLevel: 'error',
    resolve: { conditions: ['@rivulet/source', 'module', 'browser'] },
    define: { 'process.env.NODE_ENV': '"development"' },
    build: {
      write: false,
      lib: { entry: `${root}entry.ts`, formats: ['es'] },
      rolldownOptions: { output: { codeSplitting: false } },
    },
    plugins: [
      {
        name: 'documented-component',
        enforce: 'pre',
        resolveId: (id) =>
          [...files.keys()].find(
            (path) => path === id || path.startsWith(id.replace('./', root) + '.'),
          ),
        load: (id) => files.get(id),
      },
    ],
  });
  const [bundle] = Array.isArray(built) ? built : [built];
  if (bundle === undefined || !('output' in bundle)) throw new Error('unable to build the page');
  return bundle.output[0].code;
}

let browser: Browser;
beforeAll(async () => void (browser = await launchChromium()));
afterAll(() => browser.close());

/** The component in a tab whose answer `old` was under way when it was reloaded. */
async function reloaded(name: string): Promise<Page> {
  const context = await browser.newContext();
  onTestFinished(() => context.close());
  const html = '<!doctype html><body></body><script type="module" src="/app.js"></script>';
  await context.route(ORIGIN, (route) => route.fulfill({ contentType: 'text/html', body: html }));
  const script = await scriptOf(name);
  await context.route(`${ORIGIN}app.js`, (route) =>
    route.fulfill({ contentType: 'text/javascript', body: script }),
  );
  await context.addInitScript(() => sessionStorage.setItem('answer', 'old'));
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  await page.goto(ORIGIN);
  await page.getByRole('button', { name: 'Ask' }).waitFor();
  return page;
}

async function ask(page: Page): Promise<void> {
  const input = page.getByLabel('Question');
  if ((await input.count()) > 0) await input.fill('What is a delta?');
  await page.getByRole('button', { name: 'Ask' }).click();
  await page.getByText('Half').waitFor();
}

/** Gives the component the list of answers. @returns the ids that it has resumed then. */
const list = (page: Page): Promise<string[]> =>
  page.evaluate(async () => {
    active$.next([{ id: 'old' }, { id: 'answer-1' }]);
    await new Promise((resolve) => setTimeout(resolve));
    return resumed;
  });

describe.each(['Restored', 'Assistant'])('the documented component %s', (name) => {
  it('resumes the answer of its tab', async () => {
    expect(await list(await reloaded(name))).toEqual(['old']);
  });

  it('shows a question that was asked before the list of answers came', async () => {
    const page = await reloaded(name);
    await ask(page);
    expect(await list(page)).toEqual([]);
    expect(await page.getByText('Half').count()).toBe(1);
  });
});

it('the documented component Assistant keeps the id of the answer that Retry gives', async () => {
  const page = await reloaded('Assistant');
  await ask(page);
  await page.getByRole('button', { name: 'Retry' }).click();
  await page.getByText('Whole').waitFor();
  expect(await page.evaluate(() => sessionStorage.getItem('answer'))).toBe('answer-2');
});
