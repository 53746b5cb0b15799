import { connect, newId, type Peer } from './peer.js';
import { type Kind, type Served, scriptQuery, type Step } from './script.js';

/** The model of the server under test, as a test has it play. */
export interface Player {
  /** A question to which the model does these steps. */
  script(...steps: Step[]): string;
  gate(): string;
  /** Lets every script go on that holds at the gate. */
  open(gate: string): Promise<void>;
  /** Until a script has opened the gate. */
  opened(gate: string): Promise<void>;
  /** A new server of this kind; skips the test where none is offered. */
  serve(kind: Kind): Promise<Served>;
  /** Has a server of the kind `closing` begin to close. */
  close(url: string): Promise<void>;
}

const FINISH: Step = { finish: 'stop' };

export function createPlayer(need: (kind: Kind) => void): Player {
  let peer: Promise<Peer> | undefined;

  /** The model's output for these steps. */
  async function play(...steps: Step[]): Promise<string> {
    peer ??= connect();
    const { start, inbox } = await peer;
    const reading = await start({ query: player.script(...steps, FINISH) });
    await inbox.ended(reading);
    return reading.text;
  }

  const player: Player = {
    script: (...steps) => scriptQuery({ id: newId(), steps }),
    gate: newId,
    open: async (gate) => void (await play({ open: gate }, { text: 'opened' })),
    opened: async (gate) => void (await play({ hold: gate }, { text: 'it is open' })),
    async serve(kind) {
      need(kind);
      return JSON.parse(await play({ serve: kind })) as Served;
    },
    close: async (url) => void (await play({ close: url }, { text: 'it closes' })),
  };
  return player;
}
