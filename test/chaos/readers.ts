import { type Client, createClient } from '@rivulet/client';
import { type FromReaders, monotonicMs, type ReaderPlan, type ToReaders } from './messages.js';
import { createPlainReader } from './plain-reader.js';
import { type Watch, watchAnswer } from './watch.js';

// A process with clients in it. Each reads its streams, and asks anew when one ended, until told to stop.

const REPORT_EVERY_MS = 200;

const closers: (() => void)[] = [];
const grewAt = new Map<string, number[]>();
const state = { isStopping: false };

const say = (message: FromReaders): void => void process.send?.(message);

/** Asks one question, and resolves when its answer ended. */
type AskOne = (query: string, watch: Watch) => Promise<void>;

function askSdk(client: Client): AskOne {
  return async (query, watch) => {
    const answer = client.start({ query, options: { cache: 'no-store' } });
    answer.state$.subscribe(({ text }) => watch.text(text));
    await answer.result.catch(() => {});
    const { status, text, error } = answer.getSnapshot();
    watch.ended(error?.code ?? status, text);
  };
}

function connect({ kind, url }: ReaderPlan): AskOne {
  if (kind === 'plain') {
    const reader = createPlainReader(url);
    closers.push(() => reader.close());
    return reader.ask;
  }
  const client = createClient({ url, cache: false });
  closers.push(() => client.close());
  return askSdk(client);
}

async function readOn(name: string, lane: number, askOne: AskOne): Promise<void> {
  for (let turn = 0; !state.isStopping; turn++) {
    const query = `${name}, lane ${lane}, question ${turn}`;
    say({ type: 'asked', query });
    const watch = watchAnswer(query, {
      grew: () => grewAt.get(name)?.push(monotonicMs()),
      ended: (snapshots) => say({ type: 'ended', query, snapshots }),
      violation: (what) => say({ type: 'violation', query, what }),
    });
    await askOne(query, watch);
  }
}

process.on('message', (message: ToReaders) => {
  switch (message.type) {
    case 'read':
      for (const plan of message.plans) {
        grewAt.set(plan.name, []);
        const askOne = connect(plan);
        for (let lane = 0; lane < plan.streams; lane++) void readOn(plan.name, lane, askOne);
      }
      break;
    case 'stop':
      state.isStopping = true;
      break;
    case 'close':
      for (const close of closers) close();
      process.disconnect();
  }
});

setInterval(() => {
  for (const [name, atMs] of grewAt) {
    if (atMs.length > 0) say({ type: 'grew', name, atMs });
    grewAt.set(name, []);
  }
}, REPORT_EVERY_MS).unref();
