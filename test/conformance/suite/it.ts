import { it as plainIt, type TestAPI } from 'vitest';
import { createPlayer, type Player } from './player.js';
import { serverUnderTest } from './server.js';

interface Fixtures {
  /** A test that asks for it needs a server that plays scripts, and is skipped where it does not. */
  player: Player;
}

export const it: TestAPI<Fixtures> = plainIt.extend<Fixtures>({
  player: async ({ skip }, use) => {
    const { scripts } = serverUnderTest();
    if ('missing' in scripts) return skip(scripts.missing);
    await use(
      createPlayer((kind) => {
        if (!scripts.serves.includes(kind)) skip(`the server offers no server of the kind ${kind}`);
      }),
    );
  },
});
