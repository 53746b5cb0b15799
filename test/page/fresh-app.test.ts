import { readFile } from 'node:fs/promises';
import { expect, it, onTestFinished } from 'vitest';
import { launchChromium } from '../harness/chromium.js';
import { freshApp } from '../harness/fresh-app.js';
import { startServer } from '../harness/rivulet.js';
import { stage } from '../harness/stage.js';

const FILES = {
  'index.html': '<div id="app"></div><script type="module" src="/main.tsx"></script>',
  'main.tsx': `
    import { createClient, smooth, StreamError, text } from '@rivulet/client';
    import { useAnswer } from '@rivulet/client/react';
    import { createMockClient, type Script } from '@rivulet/client/testing';
    import { useEffect } from 'react';
    import { createRoot } from 'react-dom/client';

    const script: Script = [{ type: 'error', code: 'stalled' }];
    createMockClient(script).stream({ query: '' }).pipe(text(), smooth()).subscribe({
      error: (error) => { document.title = error instanceof StreamError ? error.code : ''; },
    });

    const client = createClient();
    function App() {
      const { state, ask } = useAnswer(client);
      useEffect(() => { ask('What is a delta?'); }, [ask]);
      return <output data-status={state.status}>{state.text}</output>;
    }
    createRoot(document.getElementById('app')!).render(<App />);
  `,
  'tsconfig.json': JSON.stringify({
    compilerOptions: {
      strict: true,
      noEmit: true,
      skipLibCheck: false,
      target: 'ES2022',
      lib: ['ES2022', 'DOM'],
      module: 'ESNext',
      moduleResolution: 'Bundler',
      jsx: 'react-jsx',
      types: [],
    },
    include: ['main.tsx'],
  }),
};

it('an app that installs the client from npm’s tarballs builds, and gets an answer', async () => {
  const { devDependencies: pinned } = JSON.parse(
    await readFile(new URL('../../package.json', import.meta.url), 'utf8'),
  ) as { devDependencies: Record<string, string> };
  const names = ['react', 'react-dom', '@types/react', '@types/react-dom', 'rxjs', 'vite'];
  const versions = Object.fromEntries(names.map((name) => [name, pinned[name]!]));
  const page = await freshApp(FILES, versions);

  const { provider, nextCall } = stage();
  const [{ url }, browser] = await Promise.all([startServer(provider, { page }), launchChromium()]);
  onTestFinished(() => browser.close());
  const tab = await browser.newPage();
  await tab.goto(url);
  const call = await nextCall();
  call.say('Where it ends.');
  call.finish();
  await tab.locator('output[data-status=done]').waitFor();
  expect(await tab.locator('output').textContent()).toBe('Where it ends.');
  expect(await tab.title()).toBe('stalled');
}, 180_000);
