import { setTimeout as wait } from 'node:timers/promises';
import { createLogger, createServer, type Provider } from '@rivulet/server';
import { launchChromium } from '../../harness/chromium.js';
import { providersOf } from '../../harness/providers.js';
import { sdkPage } from '../../harness/sdk-page.js';
import { table } from '../report/table.js';

// Measures the long tasks (over 50 ms) of a page with twenty answers at once, of fifty pieces a second each.

const STREAMS = 20;
const PIECES = 500;

const provider: Provider = {
  name: 'bench',
  model: 'script',
  async *stream() {
    for (let n = 0; n < PIECES; n++) {
      yield { type: 'text', text: `piece ${n}, ` };
      await wait(20);
    }
    yield { type: 'finish', reason: 'stop', usage: {} };
  },
};

const server = await createServer({
  env: {},
  port: 0,
  cache: { enabled: false },
  rateLimit: { requests: 1000 },
  logger: createLogger('silent'),
  providers: providersOf(provider),
  page: await sdkPage(),
});
const url = await server.listen();
const browser = await launchChromium();
const rows: number[][] = [];
for (const slower of [1, 4]) {
  const page = await browser.newPage();
  // tsx wraps functions in it, also those that go to the page.
  await page.addInitScript('globalThis.__name = (value) => value');
  await page.goto(url);
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Emulation.setCPUThrottlingRate', { rate: slower });
  const found = await page.evaluate(async (streams) => {
    const client = rivulet.createClient({ cache: { namespace: `bench-${Math.random()}` } });
    const long: number[] = [];
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) long.push(duration);
    }).observe({ type: 'longtask' });
    const answers = Array.from({ length: streams }, (_, i) => {
      const element = document.body.appendChild(document.createElement('p'));
      const answer = client.start({ query: `${i}` });
      answer.state$.pipe(rivulet.perFrame()).subscribe(({ text }) => (element.textContent = text));
      return answer.result;
    });
    await Promise.all(answers);
    return [long.length, Math.max(0, ...long)];
  }, STREAMS);
  rows.push([slower, ...found]);
  await page.close();
}
console.log(table(['times slower', 'tasks over 50 ms', 'the longest, ms'], rows));
await browser.close();
await server.close();
