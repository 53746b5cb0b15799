import { setTimeout as wait } from 'node:timers/promises';
import { type Answer, type Client, createClient } from '@rivulet/client';
import { sha256, textOf } from '../chaos/answer.js';
import { between, type Random, randomOf } from '../chaos/random.js';
import type { FromPeer, Tally, ToPeer } from './messages.js';
import { takeSample } from './sample.js';

// The process of the visitors. Each stream asks, and then reads on, stops, leaves and comes back, or leaves
// for good, by chance.

const tally: Tally = { asked: 0, exact: 0, cancelled: 0, left: 0, resumed: 0, restarted: 0 };
const state = { isStopping: false };

const say = (message: FromPeer): void => void process.send?.(message);

function open(url: string): Client {
  return createClient({ url, cache: false, browserId: crypto.randomUUID() });
}

/**
 * Compares each text of an answer with what the model says, until the answer has ended.
 *
 * @param canBeGone true if the server may not have the answer, because nobody has read it for a while.
 */
async function read(answer: Answer, query: string, canBeGone = false): Promise<void> {
  const expected = textOf(query);
  const violation = (what: string): void => say({ type: 'violation', what: `${query}: ${what}` });
  answer.state$.subscribe({
    next({ text }) {
      if (!expected.startsWith(text)) violation(`differs within ${text.length} units`);
    },
    error() {},
  });
  await answer.result.catch(() => {});
  const { status, text, attempt, error } = answer.getSnapshot();
  if (attempt > 1) tally.restarted += 1;
  if (status === 'cancelled') tally.cancelled += 1;
  else if (canBeGone && error?.code === 'not_found') tally.left += 1;
  else if (status !== 'done') violation(`ended as ${error?.code ?? status}`);
  else if (sha256(text) === sha256(expected)) tally.exact += 1;
  else violation(`has ${text.length} of ${expected.length} units, or others`);
}

/** Asks one question. @returns false if the client is not to be used any more. */
async function visit(client: Client, query: string, random: Random): Promise<boolean> {
  const answer = client.start({ query });
  tally.asked += 1;
  const choice = random();
  const soon = between(random, 0, 4_000);
  if (choice < 0.7) {
    await read(answer, query);
  } else if (choice < 0.8) {
    const reading = read(answer, query);
    await wait(soon);
    answer.cancel();
    await reading;
  } else if (choice < 0.9) {
    await wait(soon);
    answer.release();
    await wait(between(random, 0, 1_000));
    tally.resumed += 1;
    await read(client.resume(answer.id), query, true);
  } else if (choice < 0.95) {
    await wait(soon);
    answer.release();
    tally.left += 1;
  } else {
    await wait(soon);
    tally.left += 1;
    return false;
  }
  return true;
}

async function readOn(url: string, name: string, seed: string): Promise<void> {
  const random = randomOf(`${seed} ${name}`);
  let client = open(url);
  for (let turn = 0; !state.isStopping; turn++) {
    if (await visit(client, `${seed} ${name}, question ${turn}`, random)) continue;
    client.close();
    client = open(url);
  }
  client.close();
}

async function readAll({ urls, streams, seed }: Extract<ToPeer, { type: 'read' }>): Promise<void> {
  const reading = urls.flatMap((url, i) =>
    Array.from({ length: streams }, (_, n) => readOn(url, `link ${i}, stream ${n}`, seed)),
  );
  await Promise.all(reading);
  say({ type: 'stopped' });
}

process.on('message', (message: ToPeer) => {
  if (message.type === 'sample') say({ type: 'sample', sample: takeSample(), tally });
  else if (message.type === 'stop') state.isStopping = true;
  else void readAll(message);
});
process.on('disconnect', () => process.exit());
