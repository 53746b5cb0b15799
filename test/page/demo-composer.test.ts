import type { Browser } from 'playwright';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium } from '../harness/chromium.js';
import { type DemoPage, stagedDemo } from '../harness/demo.js';
import { answer as say } from '../harness/tools.js';

let browser: Browser;
beforeAll(async () => void (browser = await launchChromium()));
afterAll(() => browser.close());

/** The element under a point of the page. */
const elementAt = (demo: DemoPage, point: { x: number; y: number }) =>
  demo.page.evaluate(({ x, y }) => document.elementFromPoint(x, y)?.closest('button')?.id, point);

async function centreOf(demo: DemoPage): Promise<{ x: number; y: number }> {
  const box = await demo.send.boundingBox();
  return { x: box!.x + box!.width / 2, y: box!.y + box!.height / 2 };
}

const count = (demo: DemoPage) => demo.page.locator('.question').count();

describe('the button of the composer', () => {
  it('becomes Stop in its place, and nothing else is ever there', async () => {
    const { demo, nextCall } = await stagedDemo(browser);
    const place = await centreOf(demo);
    expect(await demo.send.getAttribute('aria-label')).toBe('Ask');
    await demo.ask('What is a delta?');
    const call = await nextCall();
    call.say('Where a river');
    await demo.reaches('streaming');
    expect(await demo.send.getAttribute('aria-label')).toBe('Stop');
    expect(await elementAt(demo, place)).toBe('send');
    await demo.field.fill('And an estuary?');
    expect(await elementAt(demo, place)).toBe('send');
    expect(await demo.send.getAttribute('aria-label')).toBe('Stop');
    // The second click of a double click must not send the text in the field.
    await demo.send.evaluate((button: HTMLButtonElement) => {
      button.click();
      button.click();
    });
    await call.aborted;
    await demo.reaches('cancelled');
    expect(await elementAt(demo, place)).toBe('send');
    expect(await demo.send.getAttribute('aria-label')).toBe('Ask');
    expect(await demo.field.inputValue()).toBe('And an estuary?');
    expect(await count(demo)).toBe(1);
  });

  it('keeps the focus when it is used by keyboard', async () => {
    const { demo, nextCall } = await stagedDemo(browser);
    await demo.ask('What is a delta?');
    const call = await nextCall();
    await demo.page.locator('[data-mode=stop]').focus();
    await demo.page.keyboard.press('Enter');
    await call.aborted;
    await demo.reaches('cancelled');
    expect(await demo.page.evaluate(() => document.activeElement?.id)).toBe('send');
    expect(await demo.part('ending').textContent()).toBe('Stopped before the first word');
  });

  it('is also Escape, but not while a question is edited or a word is composed', async () => {
    const { demo, nextCall } = await stagedDemo(browser);
    await demo.ask('What is a delta?');
    const call = await nextCall();
    call.say('Where a river');
    await demo.reaches('streaming');
    await demo.field.dispatchEvent('keydown', { key: 'Escape', keyCode: 229 });
    await demo.question.getByTestId('edit').focus();
    await demo.page.keyboard.press('Enter');
    await demo.page.keyboard.press('Escape');
    expect(await demo.answer.getAttribute('data-status')).toBe('streaming');
    await demo.page.keyboard.press('Escape');
    await call.aborted;
    await demo.reaches('cancelled');
    await demo.shows('Where a river');
  });
});

describe('the field of the composer', () => {
  it('does not send with the Enter of an input method', async () => {
    const { demo, nextCall } = await stagedDemo(browser);
    const input = await demo.page.context().newCDPSession(demo.page);
    await demo.field.focus();
    await input.send('Input.imeSetComposition', {
      selectionStart: 2,
      selectionEnd: 2,
      text: '三角',
    });
    for (const keyCode of [13, 229]) {
      // Chromium says `isComposing`; Safari sends the Enter after the composition, with 229.
      await demo.field.evaluate(
        (field, code) =>
          field.dispatchEvent(
            new KeyboardEvent('keydown', {
              key: 'Enter',
              keyCode: code,
              isComposing: code === 13,
              bubbles: true,
            }),
          ),
        keyCode,
      );
    }
    expect(await count(demo)).toBe(0);
    await input.send('Input.insertText', { text: '三角洲' });
    await demo.field.press('Enter');
    say(await nextCall(), 'A delta.');
    await demo.reaches('done');
    expect(await demo.question.textContent()).toContain('三角洲');
  });

  it('grows with its text to a bound, and follows the direction of the text', async () => {
    const { demo } = await stagedDemo(browser);
    const height = async () => (await demo.field.boundingBox())!.height;
    const empty = await height();
    await demo.field.fill('one\ntwo\nthree');
    const three = await height();
    expect(three).toBeGreaterThan(empty + 20);
    await demo.field.fill('line\n'.repeat(100));
    expect(await height()).toBeLessThanOrEqual(0.36 * demo.page.viewportSize()!.height);
    expect(
      await demo.page.evaluate(() => document.documentElement.scrollHeight - innerHeight),
    ).toBe(0);
    await demo.field.fill('');
    expect(await height()).toBe(empty);
    await demo.field.fill('ما هي الدلتا؟');
    expect(await demo.field.evaluate((field) => getComputedStyle(field).direction)).toBe('rtl');
  });

  it('starts a line with Shift+Enter and never sends blank text', async () => {
    const { demo } = await stagedDemo(browser);
    await demo.field.fill('   ');
    await demo.field.press('Enter');
    await demo.send.click({ force: true });
    expect(await count(demo)).toBe(0);
    await demo.field.press('Shift+Enter');
    expect(await demo.field.inputValue()).toBe('   \n');
  });

  it('has its draft again after a reload, for each chat its own', async () => {
    const { demo, nextCall } = await stagedDemo(browser);
    await demo.ask('What is a delta?');
    say(await nextCall(), 'Where a river ends.');
    await demo.reaches('done');
    await demo.field.fill('And an est');
    await demo.hasStored('And an est');
    await demo.page.reload();
    await expect.poll(() => demo.field.inputValue()).toBe('And an est');
    await demo.newChat();
    expect(await demo.field.inputValue()).toBe('');
    await demo.field.fill('Something else');
    await demo.hasStored('Something else');
    await demo.page.reload();
    await expect.poll(() => demo.field.inputValue()).toBe('Something else');
    await demo.page.getByRole('link', { name: 'What is a delta?' }).click();
    await expect.poll(() => demo.field.inputValue()).toBe('And an est');
    expect(demo.complaints).toEqual([]);
  });

  it('edits the last question in its place with ArrowUp while it is empty', async () => {
    const { demo, nextCall } = await stagedDemo(browser);
    await demo.ask('What is a dleta?');
    say(await nextCall(), 'No such thing.');
    await demo.reaches('done');
    await demo.field.fill('x');
    await demo.field.press('ArrowUp');
    expect(await demo.page.getByTestId('edit-field').count()).toBe(0);
    await demo.field.fill('');
    await demo.field.press('ArrowUp');
    const editor = demo.page.getByTestId('edit-field');
    expect(await editor.inputValue()).toBe('What is a dleta?');
    await editor.fill('What is a delta?');
    await editor.press('Enter');
    say(await nextCall(), 'Where a river ends.');
    await demo.shows('Where a river ends.');
    expect(await count(demo)).toBe(1);
    expect(await demo.question.getByTestId('version').textContent()).toBe('2 / 2');
  });
});

describe('a question that is typed while an answer runs', () => {
  it('waits visibly, can be edited and removed, and is asked then', async () => {
    const { demo, calls, nextCall } = await stagedDemo(browser);
    await demo.ask('What is a delta?');
    const first = await nextCall();
    first.say('Where a ');
    await demo.reaches('streaming');
    await demo.ask('And an estuary?');
    await expect.poll(() => demo.question.getByTestId('queued').isVisible()).toBe(true);
    await demo.field.fill('And a fjord?');
    await demo.page.getByTestId('queue').click();
    await expect.poll(() => count(demo)).toBe(3);
    await demo.question.getByTestId('remove').click();
    await expect.poll(() => count(demo)).toBe(2);
    await demo.question.getByTestId('edit').click();
    await demo.page.getByTestId('edit-field').fill('And a lagoon?');
    await demo.page.getByTestId('edit-field').press('Enter');
    await expect.poll(() => demo.question.textContent()).toContain('And a lagoon?');
    expect(calls).toHaveLength(1);
    say(first, 'river ends.');
    const second = await nextCall();
    expect(second.prompt.messages.at(-1)).toMatchObject({ text: 'And a lagoon?' });
    say(second, 'A quiet water.');
    await demo.shows('A quiet water.');
    expect(await demo.question.getByTestId('queued').isVisible()).toBe(false);
    expect(calls).toHaveLength(2);
  });

  it('waits for the connection, too, and is asked when it is back', async () => {
    const { demo, calls, nextCall } = await stagedDemo(browser);
    await demo.page.context().setOffline(true);
    await demo.page.locator('[data-connection=offline]').waitFor();
    await demo.ask('What is a delta?');
    await expect.poll(() => demo.question.getByTestId('queued').isVisible()).toBe(true);
    await expect
      .poll(() => demo.status.textContent())
      .toBe('You are offline. Your question waits and is sent automatically.');
    expect(calls).toHaveLength(0);
    await demo.page.context().setOffline(false);
    say(await nextCall(), 'Where a river ends.');
    await demo.shows('Where a river ends.');
    expect(calls).toHaveLength(1);
  });
});
