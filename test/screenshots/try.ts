import { launchChromium } from '../harness/chromium.js';
import { stage } from '../harness/stage.js';
import { serveDemo } from '../harness/demo-server.js';
const { provider, nextCall } = stage('ollama');
const server = await serveDemo(provider);
const browser = await launchChromium();
const context = await browser.newContext({
  viewport: { width: 1440, height: 900 },
  colorScheme: 'dark',
});
const page = await context.newPage();
page.on('console', (m) => console.log('console', m.text()));
page.on('pageerror', (e) => console.log('pageerror', e.stack));
await page.goto(server.url);
await page.locator('[data-connection=connected]').waitFor();
for (const q of ['What is a delta?', 'What is an estuary?']) {
  await page.getByTestId('question').fill(q);
  await page.keyboard.press('Enter');
  const call = await nextCall();
  call.say('Yes.');
  call.finish();
  await page.waitForTimeout(400);
  await page.getByRole('button', { name: 'New chat' }).click();
}
await page.getByRole('link', { name: 'What is an estuary?' }).click();
await page.waitForTimeout(400);
await page.getByRole('button', { name: 'Delete What is an estuary?' }).focus();
await page.keyboard.press('Enter');
await page.waitForTimeout(600);
await page.screenshot({ path: '/tmp/s1.png' });
console.log(page.url());
await page.getByRole('button', { name: 'Undo' }).click();
await page.waitForTimeout(600);
await page.screenshot({ path: '/tmp/s2.png' });
console.log(page.url());
await page.reload();
await page.waitForTimeout(600);
await page.screenshot({ path: '/tmp/s3.png' });
await browser.close();
await server.close();
