import { type Answer, type AnswerSnapshot, type Client, createClient } from '@rivulet/client';
import { filter, firstValueFrom } from 'rxjs';
import { sha256 } from '../answer.js';
import { monotonicMs } from '../messages.js';
import { between, randomOf } from '../random.js';
import { callOf, textOfCall } from './attempt.js';
import type { FromReaders, ToReaders, VisitorPlan } from './messages.js';

// A process with visitors in it. Each reads its streams, and asks anew when one ended, until told to stop.

const REPORT_EVERY_MS = 200;
const READS_ALONG = 0.3;
const CANCELS = 0.1;

const clients: Client[] = [];
/** The answers that have not ended, by their questions, and how each client and its reader are. */
const unended = new Map<string, { answer: Answer; describe: () => string }>();
/** The state of each client's connection, as JSON. */
const connections = new Map<Client, string>();
/** When each client connected last. */
const connectedAt = new Map<Client, number>();
const grewAt = new Map<string, number[]>();
const state = { isStopping: false };

function say(message: FromReaders): void {
  // Events after the last message are ignored.
  if (process.connected) process.send?.(message);
}

/** Holds each snapshot of an answer against what the call of the model says that its text is from. */
class Watch {
  readonly #query: string;
  readonly #client: Client;
  readonly #onGrowth: () => void;
  /** When the text grew last. */
  #grewAtMs = monotonicMs();
  #call = '';
  #expected = '';
  #shown = '';
  #attempt = 0;
  #isBroken = false;
  #requestId: string | undefined;

  constructor(query: string, client: Client, onGrowth: () => void) {
    this.#query = query;
    this.#client = client;
    this.#onGrowth = onGrowth;
  }

  read(answer: Answer): void {
    answer.state$.subscribe((snapshot) => this.#take(snapshot));
  }

  /** The time since the text last grew. */
  get silentMs(): number {
    return monotonicMs() - this.#grewAtMs;
  }

  /** @param isCancelled true if a client has cancelled the stream. */
  end({ status, text, error }: AnswerSnapshot, isCancelled: boolean): void {
    if (isCancelled && status === 'cancelled') return;
    const code = error?.code;
    if (code === 'not_found' || code === 'interrupted') this.apart(`ended as ${code}`);
    else if (status !== 'done')
      this.violation(
        `ended as ${error?.code ?? status} after ${text.length} units: ${error?.message}`,
      );
    else if (sha256(text) !== sha256(textOfCall(this.#query, callOf(text) ?? '')))
      this.violation(`is not what ${callOf(text) ?? 'any call'} says: ${text.length} units`);
  }

  /** Says what is right only where the server that generated the answer could not reach Redis. */
  apart(what: string): void {
    const [requestId, atMs] = [this.#requestId, monotonicMs()];
    say({ type: 'apart', query: this.#query, requestId, what, atMs });
  }

  violation(what: string): void {
    if (this.#isBroken) return;
    this.#isBroken = true;
    say({ type: 'violation', query: this.#query, requestId: this.#requestId, what });
  }

  #take(snapshot: AnswerSnapshot): void {
    const { text, attempt } = snapshot;
    this.#requestId = snapshot.requestId;
    // A log that was lost is replaced by another one, from its beginning on.
    const isReset = attempt === 0 && text === '';
    if (attempt < this.#attempt && !isReset)
      this.violation(`went back from attempt ${this.#attempt} to ${attempt}`);
    if (attempt !== this.#attempt) this.#shown = '';
    this.#attempt = attempt;
    if (!text.startsWith(this.#shown))
      this.violation(`went back in attempt ${attempt}, at ${text.length} units`);
    const call = callOf(text);
    if (call === undefined) this.violation(`is of no call, in attempt ${attempt}`);
    else if (call !== '') this.#takeFrom(call, snapshot);
    if (text.length > this.#shown.length) {
      this.#grewAtMs = monotonicMs();
      this.#onGrowth();
    }
    this.#shown = text;
  }

  #takeFrom(call: string, { text, requestId }: AnswerSnapshot): void {
    if (call !== this.#call) {
      const [sinceMs, atMs] = [this.#grewAtMs, monotonicMs()];
      const times = { connectedAtMs: connectedAt.get(this.#client) ?? 0, sinceMs, atMs };
      const before = this.#call;
      if (before !== '')
        say({ type: 'replaced', query: this.#query, requestId, before, call, ...times });
      this.#call = call;
      this.#expected = textOfCall(this.#query, call);
    }
    if (!this.#expected.startsWith(text))
      this.violation(`differs from ${call} within ${text.length} units`);
  }
}

async function readOn(
  { name }: VisitorPlan,
  seed: string,
  [first, second]: readonly [Client, Client],
  lane: number,
): Promise<void> {
  for (let turn = 0; !state.isStopping; turn++) {
    const query = `${name}, lane ${lane}, question ${turn}`;
    const random = randomOf(`${seed} ${query}`);
    const [isCancelled, isReadAlong] = [random() < CANCELS, random() < READS_ALONG];
    say({ type: 'asked', query });
    const watch = new Watch(query, first, () => grewAt.get(name)?.push(monotonicMs()));
    const answer = first.start({ query, options: { cache: 'no-store' } });
    watch.read(answer);
    let along: Answer | undefined;
    const alongWatch = new Watch(query, second, () => {});
    const describe = (): string => {
      const own = describeReader('first', first, answer, watch);
      return along === undefined
        ? own
        : `${own}; ${describeReader('second', second, along, alongWatch)}`;
    };
    unended.set(query, { answer, describe });
    let hasCancelled = false;
    if (isCancelled || isReadAlong) {
      // Only a stream that has begun can be read by another client.
      await firstValueFrom(answer.state$.pipe(filter(hasBegun)));
      along = second.resume(answer.id);
    }
    if (along !== undefined) alongWatch.read(along);
    if (along !== undefined && isCancelled) {
      const stream = along;
      const units = between(random, 1, 200);
      along.state$.subscribe(({ text, status }) => {
        if (text.length < units || status !== 'streaming') return;
        hasCancelled = true;
        stream.cancel();
      });
    }
    await answer.result.catch(() => {});
    await along?.result.catch(() => {});
    const last = answer.getSnapshot();
    watch.end(last, hasCancelled);
    const lastAlong = along?.getSnapshot();
    if (lastAlong !== undefined) {
      alongWatch.end(lastAlong, hasCancelled);
      const areDone = last.status === 'done' && lastAlong.status === 'done';
      if (areDone && last.text !== lastAlong.text)
        watch.apart('is another text for the second reader');
    }
    answer.release();
    along?.release();
    unended.delete(query);
    const { status, attempt } = last;
    say({ type: 'ended', query, status, attempt, cancelled: isCancelled });
  }
}

function describeReader(name: string, client: Client, answer: Answer, watch: Watch): string {
  const { status, attempt, text } = answer.getSnapshot();
  const connection = connections.get(client);
  return `${name} client ${connection}, ${status}, attempt ${attempt}, ${text.length} units, silent for ${watch.silentMs.toFixed(0)} ms`;
}

function hasBegun({ text, status }: AnswerSnapshot): boolean {
  return text !== '' || ['done', 'cancelled', 'failed'].includes(status);
}

function clientOf(browserId: string, url: string): Client {
  const client = createClient({ url, cache: false, browserId, transports: ['websocket'] });
  clients.push(client);
  client.connection$.subscribe((connection) => {
    connections.set(client, JSON.stringify(connection));
    if (connection.status === 'connected') connectedAt.set(client, monotonicMs());
  });
  return client;
}

process.on('message', (message: ToReaders) => {
  switch (message.type) {
    case 'read':
      for (const plan of message.plans) {
        grewAt.set(plan.name, []);
        const browserId = `the-browser-of-${plan.name.replaceAll(' ', '-')}`;
        const pair = plan.urls.map((url) => clientOf(browserId, url)) as [Client, Client];
        for (let lane = 0; lane < plan.streams; lane++) void readOn(plan, message.seed, pair, lane);
      }
      break;
    case 'stop':
      state.isStopping = true;
      break;
    case 'describe':
      for (const [query, { answer, describe }] of unended) {
        const { requestId } = answer.getSnapshot();
        say({ type: 'unended', query, requestId, clients: describe() });
      }
      break;
    case 'close':
      for (const client of clients) client.close();
      process.disconnect();
  }
});

process.on('disconnect', () => process.exit());

setInterval(() => {
  for (const [name, atMs] of grewAt) {
    if (atMs.length > 0) say({ type: 'grew', name, atMs });
    grewAt.set(name, []);
  }
}, REPORT_EVERY_MS).unref();
