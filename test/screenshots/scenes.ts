import type { ServerOptions } from '@rivulet/server';
import type { Page } from 'playwright';
import { runs } from '../harness/tools.js';
import type { Stage } from '../harness/stage.js';

/** A state of the demo page worth looking at. */
export interface Scene {
  readonly name: string;
  /** The actions of the visitor and the model that lead to this state of the page. */
  play(visitor: Visitor): Promise<void>;
}

export interface Visitor extends Pick<Stage, 'nextCall'> {
  readonly page: Page;
  ask(question: string): Promise<void>;
  /** Once the newest answer has that status. */
  reaches(status: string): Promise<void>;
  /** Once the newest answer shows these words. */
  reads(words: string): Promise<void>;
  /** Once the status line says these words. */
  isTold(words: string): Promise<void>;
}

export const TOOLS: ServerOptions['tools'] = [runs('search_docs', () => 'Deltas are flat.')];

const DELTA = `A **delta** is the land that a river builds where it meets still water. The current slows down, and what it carried settles.

## Three shapes

| Shape | Made by | Example |
|---|---|---|
| Bird’s foot | the river | Mississippi |
| Arcuate | waves | Nile |
| Estuarine | tides | Ganges |

The grain that still moves depends on the speed of the water:

\`\`\`ts
/** Metres per second at which a grain of this size settles (Stokes). */
function settlingSpeed(diameterM: number): number {
  const viscosity = 1.0e-3; // water, 20 °C
  return (9.81 * (2650 - 1000) * diameterM ** 2) / (18 * viscosity);
}
\`\`\`

1. Sand settles first, at the mouth.
2. Silt drifts on.
3. Clay reaches the open sea.
`;

const USAGE = { input_tokens: 18, output_tokens: 214 };

async function earlierChats({ page, nextCall, ask, reaches }: Visitor): Promise<void> {
  for (const [question, answer] of [
    ['Why do rivers meander?', 'The outer bank is faster, so it erodes.'],
    ['Plan a weekend at the Danube delta', 'Day one: Tulcea, then by boat to Sulina.'],
    ['ما هي الدلتا؟', 'أرض يبنيها النهر حيث يلتقي بالبحر.'],
  ] as const) {
    await ask(question);
    const call = await nextCall();
    call.say(answer);
    call.finish();
    await reaches('done');
    // On a phone the button is in the drawer.
    await page.evaluate(() => (location.hash = ''));
    await page.locator('#welcome').waitFor();
  }
}

export const scenes: readonly Scene[] = [
  { name: 'new-chat', play: (visitor) => earlierChats(visitor) },
  {
    name: 'generating',
    async play(visitor) {
      await earlierChats(visitor);
      await visitor.ask('What is a delta? Show the physics, too.');
      (await visitor.nextCall()).say(DELTA.slice(0, DELTA.indexOf('return') + 20));
      await visitor.reads('settlingSpeed');
      await visitor.isTold('Generating');
    },
  },
  {
    name: 'complete',
    async play(visitor) {
      await earlierChats(visitor);
      await visitor.ask('What is a delta? Show the physics, too.');
      const call = await visitor.nextCall();
      call.say(DELTA);
      await visitor.reads('open sea');
      await visitor.page.waitForTimeout(1_500);
      call.finish('stop', undefined, USAGE);
      await visitor.reaches('done');
      await visitor.page.getByTestId('regenerate').click();
      const again = await visitor.nextCall();
      again.say(DELTA);
      await visitor.reads('open sea');
      await visitor.page.waitForTimeout(1_500);
      again.finish('stop', undefined, USAGE);
      await visitor.reaches('done');
    },
  },
  {
    name: 'thinking',
    async play(visitor) {
      await visitor.ask('How flat is a delta?');
      const call = await visitor.nextCall();
      call.think('The slope matters. I look it up in the documents before I answer.');
      call.callTool('search_docs', { of: 'slope', query: 'slope of deltas' });
      call.finish();
      const next = await visitor.nextCall();
      next.think(' The documents say that it is flat.');
      await visitor.page.locator('.thoughts summary').click();
      await visitor.isTold('Thinking');
    },
  },
  {
    name: 'endings',
    async play(visitor) {
      await visitor.ask('What is a delta?');
      (await visitor.nextCall()).say('A **delta** is the land that a river builds where');
      await visitor.reads('builds where');
      await visitor.page.keyboard.press('Escape');
      await visitor.reaches('cancelled');
      await visitor.ask('And an estuary?');
      const cut = await visitor.nextCall();
      cut.say('An **estuary** is the drowned mouth of a river, in which fresh and salt water');
      cut.finish('length', undefined, { output_tokens: 16 });
      await visitor.reaches('done');
      await visitor.ask('And a fjord?');
      const failing = await visitor.nextCall();
      failing.say('A **fjord** is');
      await visitor.reads('fjord');
      failing.fail(new Error('gone'));
      await visitor.reaches('failed');
    },
  },
  {
    name: 'offline',
    async play(visitor) {
      await visitor.ask('What is a delta?');
      (await visitor.nextCall()).say(DELTA.slice(0, 160));
      await visitor.reads('slows');
      await visitor.ask('And an estuary?');
      await visitor.page.context().setOffline(true);
      await visitor.isTold('You are offline');
      await visitor.page.getByTestId('question').fill('A third question, still a draft');
    },
  },
  {
    name: 'editing',
    async play(visitor) {
      await visitor.ask('What is a dleta?');
      const call = await visitor.nextCall();
      call.say('There is no such thing. Do you mean a *delta*?');
      call.finish();
      await visitor.reaches('done');
      await visitor.page.keyboard.press('ArrowUp');
      await visitor.page.getByTestId('edit-field').fill('What is a delta?');
    },
  },
  {
    name: 'search',
    async play(visitor) {
      await earlierChats(visitor);
      const open = visitor.page.locator('#open-sidebar');
      if (await open.isVisible()) await open.click();
      await visitor.page.getByRole('searchbox').fill('boat');
      await visitor.page.locator('.chat-preview mark').waitFor();
    },
  },
];
