import type { Answer, AnswerSnapshot, Client } from '@rivulet/client';
import { filter, firstValueFrom, type Observable, Subscription, switchMap, tap } from 'rxjs';
import { readCaches } from './caches.js';
import { createLabServer, digestOf, type Fault, type Generated } from './lab-server.js';
// oxlint-disable-next-line import/no-unassigned-import -- Vite loads the stylesheet.
import './lab.css';
import { createMeter, type Meter } from './meter.js';
import { createPlainReader, type PlainReader } from './plain-reader.js';
import { drawTimeline } from './timeline.js';
import { watchWire } from './wire.js';

export interface LabSurroundings {
  client: Client;
  /** The answer that the visitor looks at, and each that takes its place. */
  currentAnswer$: Observable<Answer | undefined>;
}

const OFFLINE_MS = 5_000;
const SLOW_MS = 15_000;
const REDRAW_MS = 200;
const CHECK_MS = 1_000;
/** After a fault the server may not be reached for a while. */
const MAX_CHECKS = 30;
const TAIL_UNITS = 280;
const RATE_LIMIT_QUESTION = 'Exhausts the rate limit';
const MAX_LIMITED_QUESTIONS = 400;

interface Button {
  id: Fault | 'rate-limit' | 'second-tab';
  label: string;
  /** The line under the buttons after this one was pressed. */
  said: string;
  ms?: number;
}

const BUTTONS: Button[] = [
  { id: 'cut', label: 'Cut the connection', said: 'The connection was cut.' },
  {
    id: 'offline',
    label: 'Go offline for 5 s',
    said: 'Offline for 5 seconds.',
    ms: OFFLINE_MS,
  },
  {
    id: 'slow',
    label: 'Slow link: 1 KB/s',
    said: 'The link carries 1 KB a second, for 15 seconds.',
    ms: SLOW_MS,
  },
  {
    id: 'fail-now',
    label: 'Fail the provider now',
    said: 'The provider failed. Without an answer under way, the next one fails before its text.',
  },
  {
    id: 'fail-later',
    label: 'Fail it in mid-answer',
    said: 'The provider fails after 300 more characters.',
  },
  { id: 'rate-limit', label: 'Exhaust the rate limit', said: 'Asking until the server refuses …' },
  {
    id: 'restart',
    label: 'Restart the server',
    said: 'The server restarts. What it had in memory is gone.',
  },
  {
    id: 'second-tab',
    label: 'Open in a second tab',
    said: 'The second tab shows the same answer.',
  },
];

interface Checked {
  units: number;
  digest: string;
  generated: Generated;
}

/**
 * Mounts "Try to break it" into `host`.
 *
 * @returns a function that removes it.
 */
export function mountLab(
  host: HTMLElement,
  { client, currentAnswer$ }: LabSurroundings,
): () => void {
  const server = createLabServer();
  const wire = watchWire(redrawSoon);
  const subscriptions = new Subscription();
  let answer: Answer | undefined;
  let meter: Meter | undefined;
  let plain: PlainReader | undefined;
  let status = '';
  let redraw: number | undefined;
  let checks = 0;

  host.classList.add('lab');
  host.innerHTML = LAYOUT;
  const part = (name: string): HTMLElement => host.querySelector(`[data-lab=${name}]`)!;
  const ours = createColumn(part('rivulet'), 'Rivulet');
  const theirs = createColumn(part('plain'), 'Plain Socket.IO');
  const said = part('said');

  part('buttons').append(...BUTTONS.map(createButton));
  const compare = host.querySelector<HTMLInputElement>('[data-lab=compare]')!;
  compare.addEventListener('change', () => void setComparison(compare.checked));
  part('frames-box').addEventListener('toggle', redrawSoon);
  part('caches-box').addEventListener('toggle', () => void drawCaches());

  subscriptions.add(
    currentAnswer$
      .pipe(
        tap(begin),
        filter((current) => current !== undefined),
        switchMap((current) => current.state$),
      )
      .subscribe(follow),
  );
  const checking = setInterval(() => void check(), CHECK_MS);
  draw();

  function begin(current: Answer | undefined): void {
    if (current?.id === answer?.id) return;
    answer = current;
    meter = current && createMeter();
    wire.reset();
    checks = 0;
    ours.show(undefined);
    redrawSoon();
  }

  function follow(snapshot: AnswerSnapshot): void {
    const isThinking = snapshot.status === 'waiting' && snapshot.thoughts !== '';
    const next = isThinking ? 'thinking' : snapshot.status;
    if (next !== status || meter?.marks.length === 0) meter?.status(next);
    status = next;
    meter?.grow(snapshot.text.length);
    checks = 0;
    redrawSoon();
  }

  function createButton({ id, label, said: words, ms }: Button): HTMLElement {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = label;
    button.dataset['fault'] = id;
    button.addEventListener('click', () => {
      said.textContent = words;
      press(id, label, ms).catch(() => {
        said.textContent = 'The server is not reached. Try again in a moment.';
      });
    });
    return button;
  }

  async function press(id: Button['id'], label: string, ms: number | undefined): Promise<void> {
    if (id === 'second-tab') return void window.open(location.href, '_blank', 'noopener');
    if (id === 'rate-limit') {
      const asked = await exhaustRateLimit(client);
      said.textContent = `The server took ${asked} questions and refused the next one. Your next question waits, and the page says how long.`;
      return undefined;
    }
    meter?.fault(label);
    plain?.answer?.meter.fault(label);
    wire.reset();
    checks = 0;
    await server.cause(id, ms);
    if (id === 'offline') pretendOffline(OFFLINE_MS);
  }

  async function setComparison(isOn: boolean): Promise<void> {
    part('plain').hidden = !isOn;
    part('columns').dataset['count'] = isOn ? '2' : '1';
    plain?.close();
    plain = undefined;
    if (!isOn) return;
    const token = await server.token();
    plain = createPlainReader(token, RATE_LIMIT_QUESTION, redrawSoon);
    redrawSoon();
  }

  /** Compares the texts of the columns with the generated ones. */
  async function check(): Promise<void> {
    const { query, text } = answer?.getSnapshot() ?? {};
    if (checks < MAX_CHECKS && query !== undefined && text !== undefined) {
      checks += 1;
      ours.show(await compareWithServer(query, text));
    }
    if (plain?.answer !== undefined) {
      theirs.show(await compareWithServer(plain.answer.question, plain.answer.text));
    }
    redrawSoon();
  }

  async function compareWithServer(query: string, text: string): Promise<Checked | undefined> {
    const [generated, digest] = await Promise.all([
      server.generated(query, text.length),
      digestOf(text),
    ]);
    return generated && { units: text.length, digest, generated };
  }

  function redrawSoon(): void {
    redraw ??= window.setTimeout(draw, REDRAW_MS);
  }

  function draw(): void {
    redraw = undefined;
    drawTimeline(part('timeline'), meter, performance.now());
    const snapshot = answer?.getSnapshot();
    ours.draw(snapshot && { status: snapshot.status, text: snapshot.text, meter });
    const replayed = `${bytesOf(wire.receivedBytes)} received since, ${bytesOf(wire.repeatedUnits)} of them twice`;
    part('cost').textContent = meter ? replayed : '';
    theirs.draw(plain?.answer);
    if (part('frames-box').hasAttribute('open')) drawFrames();
    if (snapshot && !FINAL.has(snapshot.status)) redrawSoon();
  }

  function drawFrames(): void {
    part('frames').replaceChildren(
      ...wire.frames.toReversed().map(({ at, isSent, bytes, text }) => {
        const item = document.createElement('li');
        item.dataset['sent'] = String(isSent);
        const time = `${(at / 1_000).toFixed(2)} s`;
        item.textContent = `${isSent ? '↑ sent' : '↓ received'} ${time}, ${bytesOf(bytes)}: ${text}`;
        return item;
      }),
    );
  }

  async function drawCaches(): Promise<void> {
    if (!part('caches-box').hasAttribute('open')) return;
    const kept = await readCaches();
    const rows = kept.map(({ kind, name, bytes }) => {
      const item = document.createElement('li');
      item.textContent = `${kind}: ${name} (${bytesOf(bytes)})`;
      return item;
    });
    part('caches').replaceChildren(...(rows.length > 0 ? rows : ['Nothing is kept.']));
  }

  return () => {
    subscriptions.unsubscribe();
    clearInterval(checking);
    clearTimeout(redraw);
    wire.close();
    plain?.close();
    host.replaceChildren();
    host.classList.remove('lab');
  };
}

const FINAL = new Set(['done', 'cancelled', 'failed', 'released']);

const LAYOUT = `
  <h2>Try to break it</h2>
  <p class="lead">Ask something, then press a button while the answer is coming. Each button does it to this page’s real connection, provider or server.</p>
  <div class="buttons" data-lab="buttons"></div>
  <p class="said" data-lab="said" role="status"></p>
  <h3>Timeline</h3>
  <div class="timeline" data-lab="timeline"></div>
  <h3>Is the text still exact?</h3>
  <label class="switch"><input type="checkbox" data-lab="compare" /> Show plain Socket.IO with connection state recovery beside it</label>
  <div class="columns" data-lab="columns" data-count="1">
    <section data-lab="rivulet"></section>
    <section data-lab="plain" hidden></section>
  </div>
  <p class="cost" data-lab="cost"></p>
  <details data-lab="frames-box"><summary>Frames on the wire</summary><ol class="frames" data-lab="frames" tabindex="0" aria-label="Frames, newest first"></ol></details>
  <details data-lab="caches-box"><summary>What this browser keeps</summary><ul class="caches" data-lab="caches"></ul></details>
`;

interface Column {
  /** @param checked undefined if the server was not reached. */
  show(checked: Checked | undefined): void;
  draw(state: { status: string; text: string; meter: Meter | undefined } | undefined): void;
}

function createColumn(host: HTMLElement, name: string): Column {
  host.innerHTML = `
    <h4></h4>
    <p class="verdict" data-verdict="none"></p>
    <p class="figures"></p>
    <p class="digest"></p>
    <pre class="tail" tabindex="0"></pre>`;
  const part = (selector: string): HTMLElement => host.querySelector(selector)!;
  part('h4').textContent = name;
  part('.tail').ariaLabel = `End of the text, ${name}`;
  let checked: Checked | undefined;

  return {
    show: (newest) => void (checked = newest),
    draw(state) {
      const verdict = part('.verdict');
      verdict.dataset['verdict'] = verdictOf(state, checked);
      verdict.textContent = sentenceOf(state, checked);
      const { gapMs = 0, caughtUpUnits = 0 } = state?.meter ?? {};
      part('.figures').textContent =
        state === undefined
          ? ''
          : `${state.status}. Longest gap ${Math.round(gapMs)} ms, then ${caughtUpUnits} characters at once.`;
      part('.digest').textContent = checked ? `SHA-256 ${checked.digest.slice(0, 16)}…` : '';
      const tail = part('.tail');
      tail.textContent = state?.text.slice(-TAIL_UNITS) ?? '';
      tail.scrollTop = tail.scrollHeight;
    },
  };
}

function isPrefix({ units, digest, generated }: Checked): boolean {
  return units <= generated.length && digest === generated.digest;
}

function verdictOf(
  state: unknown,
  checked: Checked | undefined,
): 'none' | 'exact' | 'wrong' | 'behind' {
  if (state === undefined || checked === undefined) return 'none';
  if (!isPrefix(checked)) return 'wrong';
  return checked.units === checked.generated.length ? 'exact' : 'behind';
}

function sentenceOf(state: { status: string } | undefined, checked: Checked | undefined): string {
  if (state === undefined) return 'No answer yet.';
  if (checked === undefined) return 'Not compared yet.';
  const { units, generated } = checked;
  const [have, of] = [units.toLocaleString('en'), generated.length.toLocaleString('en')];
  if (!isPrefix(checked)) return `Not the text that was generated (${have} of ${of} characters).`;
  if (units === generated.length) {
    return generated.isRunning
      ? `Exact so far: ${have} characters.`
      : `Exact: ${have} of ${of} characters.`;
  }
  return FINAL.has(state.status) || !generated.isRunning
    ? `Exact, but not whole: the first ${have} of ${of} characters.`
    : `Exact so far: the first ${have} of ${of} characters.`;
}

/** @returns how many questions the server took. */
async function exhaustRateLimit(client: Client): Promise<number> {
  for (let asked = 0; asked < MAX_LIMITED_QUESTIONS; asked += 1) {
    const answer = client.start({ query: RATE_LIMIT_QUESTION, options: { cache: 'no-store' } });
    const { error } = await firstValueFrom(
      answer.state$.pipe(
        filter(({ requestId, status }) => requestId !== undefined || FINAL.has(status)),
      ),
    );
    answer.cancel();
    if (error !== undefined) return asked;
  }
  return MAX_LIMITED_QUESTIONS;
}

/** Makes the page behave as on a device that has lost its network. */
function pretendOffline(ms: number): void {
  Object.defineProperty(navigator, 'onLine', { configurable: true, get: () => false });
  dispatchEvent(new Event('offline'));
  setTimeout(() => {
    Reflect.deleteProperty(navigator, 'onLine');
    dispatchEvent(new Event('online'));
  }, ms);
}

function bytesOf(bytes: number): string {
  return bytes < 1_024 ? `${bytes} B` : `${(bytes / 1_024).toFixed(1)} KB`;
}
