import type { Answer, AnswerSnapshot, Client } from '@rivulet/client';
import { filter, type Observable, switchMap, tap } from 'rxjs';
import { showButtons } from './buttons.js';
import { readStoredItems, type StoredItem } from './caches.js';
import { type Comparison, createColumn, isFinal } from './column.js';
import { createLabServer, digestOf } from './lab-server.js';
// oxlint-disable-next-line import/no-unassigned-import -- Vite loads the stylesheet.
import './lab.css';
import { createMeter, type Meter } from './meter.js';
import { createPlainReader, type PlainReader } from './plain-reader.js';
import { drawTimeline } from './timeline.js';
import { monitorWire } from './wire.js';

export interface LabDependencies {
  client: Client;
  /** The answer that the visitor looks at, and each that takes its place. */
  currentAnswer$: Observable<Answer | undefined>;
}

const REDRAW_MS = 200;
/** While only plain Socket.IO waits, which may be for ever. */
const SLOW_REDRAW_MS = 1_000;
const CHECK_MS = 1_000;
/** After a fault the server may not be reached for a while. */
const MAX_CHECKS = 30;

/**
 * Mounts "Try to break it" into `host`. While `host` is hidden, the panel only measures.
 *
 * @param token the secret that the server gave this page.
 * @returns a function that draws the panel, for when it is shown.
 */
export function mountLab(
  host: HTMLElement,
  { client, currentAnswer$ }: LabDependencies,
  token: string,
): () => void {
  const server = createLabServer(token);
  const monitor = monitorWire(() => redrawSoon());
  let answer: Answer | undefined;
  let meter: Meter | undefined;
  let plainReader: PlainReader | undefined;
  let status = '';
  let redraw: number | undefined;
  let checks = 0;

  host.innerHTML = LAYOUT;
  const part = (name: string): HTMLElement => host.querySelector(`[data-lab=${name}]`)!;
  const rivuletColumn = createColumn(part('rivulet'), 'Rivulet');
  const plainColumn = createColumn(part('plain'), 'Plain Socket.IO');
  showButtons(part('buttons'), part('said'), { client, server, onFault });
  const compare = host.querySelector<HTMLInputElement>('[data-lab=compare]')!;
  compare.addEventListener('change', () => showPlain(compare.checked));
  part('frames-box').addEventListener('toggle', () => redrawSoon());
  part('caches-box').addEventListener('toggle', () => void drawCaches());

  currentAnswer$
    .pipe(
      tap(onAnswer),
      filter((current) => current !== undefined),
      switchMap((current) => current.state$),
    )
    .subscribe(onSnapshot);
  setInterval(() => void compareAll(), CHECK_MS);

  function onAnswer(current: Answer | undefined): void {
    if (current?.id === answer?.id) return;
    answer = current;
    meter = current && createMeter();
    monitor.reset();
    rivuletColumn.setComparison(undefined);
    followPlain(undefined);
    scheduleChecks();
  }

  function followPlain(question: string | undefined): void {
    if (question === plainReader?.question) return;
    plainColumn.setComparison(undefined);
    plainReader?.follow(question);
  }

  function onSnapshot(snapshot: AnswerSnapshot): void {
    const next = phaseOf(snapshot);
    if (next !== status || meter?.marks.length === 0) meter?.status(next);
    status = next;
    followPlain(snapshot.query);
    meter?.grow(snapshot.text.length);
    scheduleChecks();
  }

  function phaseOf(snapshot: AnswerSnapshot): string {
    // A page that has just been loaded resumes its answer with this status, without a failure.
    const isUndisturbed = !meter?.marks.some(
      (mark) => mark.type === 'fault' || (mark.type === 'status' && mark.status === 'streaming'),
    );
    if (snapshot.status === 'reconnecting' && isUndisturbed) return 'opening';
    const isThinking = snapshot.status === 'waiting' && snapshot.thoughts !== '';
    return isThinking ? 'thinking' : snapshot.status;
  }

  function onFault(label: string): void {
    meter?.fault(label);
    plainReader?.answer?.meter.fault(label);
    monitor.reset();
    scheduleChecks();
  }

  function scheduleChecks(): void {
    checks = 0;
    redrawSoon();
  }

  function showPlain(isShown: boolean): void {
    part('plain').hidden = !isShown;
    part('columns').dataset['count'] = isShown ? '2' : '1';
    plainReader?.close();
    plainReader = isShown ? createPlainReader(token, scheduleChecks) : undefined;
    followPlain(answer?.getSnapshot().query);
    scheduleChecks();
  }

  /** Compares the texts of the columns with the generated ones. */
  async function compareAll(): Promise<void> {
    if (host.hidden || checks >= MAX_CHECKS) return;
    checks += 1;
    const compared = answer;
    const { query, text } = compared?.getSnapshot() ?? {};
    if (query !== undefined && text !== undefined) {
      const comparison = await compareTexts(query, text);
      if (compared === answer) rivuletColumn.setComparison(comparison);
    }
    const plain = plainReader?.answer;
    if (plain !== undefined) {
      const comparison = await compareTexts(plain.question, plain.text);
      if (plain === plainReader?.answer) plainColumn.setComparison(comparison);
    }
    await drawCaches();
    redrawSoon();
  }

  async function compareTexts(query: string, text: string): Promise<Comparison | undefined> {
    const [generated, digest] = await Promise.all([
      server.generated(query, text.length),
      digestOf(text),
    ]);
    return generated && { units: text.length, digest, generated };
  }

  function redrawSoon(ms = REDRAW_MS): void {
    if (!host.hidden) redraw ??= window.setTimeout(draw, ms);
  }

  function draw(): void {
    redraw = undefined;
    drawTimeline(part('timeline'), meter, performance.now());
    const snapshot = answer?.getSnapshot();
    rivuletColumn.draw(snapshot && { status: snapshot.status, text: snapshot.text, meter });
    plainColumn.draw(plainReader?.answer);
    const since = meter?.marks.some(({ type }) => type === 'fault') ? 'last fault' : 'question';
    part('cost').textContent = meter
      ? `Rivulet received ${bytesOf(monitor.receivedBytes)} since the ${since}, and ${monitor.repeatedUnits} characters twice.`
      : '';
    if (part('frames-box').hasAttribute('open')) drawFrames();
    const isOver = (reading?: { status: string }): boolean =>
      reading === undefined || isFinal(reading.status);
    if (!isOver(snapshot)) redrawSoon();
    else if (!isOver(plainReader?.answer)) redrawSoon(SLOW_REDRAW_MS);
  }

  function drawFrames(): void {
    part('frames').replaceChildren(
      ...monitor.frames.toReversed().map(({ at, isSent, bytes, text }) => {
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
    const [stored, cached] = await Promise.all([
      readStoredItems().catch(() => []),
      server.cachedAnswers(),
    ]);
    drawItems(part('caches'), stored);
    drawItems(
      part('server-cache'),
      cached.map((item) => ({ kind: 'answer', ...item })),
    );
  }

  return () => {
    scheduleChecks();
    draw();
  };
}

const LAYOUT = `
  <h2>Try to break it</h2>
  <p class="lead">Ask something, then press a button while the answer arrives. Each fault is real, and reaches every page that this server serves.</p>
  <div class="buttons" data-lab="buttons"></div>
  <p class="said" data-lab="said" role="status"></p>
  <h3>Is the text still exact?</h3>
  <div class="columns" data-lab="columns" data-count="1">
    <section data-lab="rivulet"></section>
    <section data-lab="plain" hidden></section>
  </div>
  <label class="switch"><input type="checkbox" data-lab="compare" /> Show plain Socket.IO with connection state recovery beside it</label>
  <p class="cost" data-lab="cost"></p>
  <h3>Timeline</h3>
  <div class="timeline" data-lab="timeline"></div>
  <details data-lab="frames-box"><summary>Frames on the wire</summary><p class="lead">The newest frames are first. Times are seconds since this page was opened.</p><ol class="frames" data-lab="frames" tabindex="0" aria-label="Frames, newest first"></ol></details>
  <details data-lab="caches-box"><summary>Stored in this browser, and cached by the server</summary>
    <h4>This browser</h4><ul class="caches" data-lab="caches"></ul>
    <h4>The server’s cache</h4><ul class="caches" data-lab="server-cache"></ul>
  </details>
`;

function drawItems(list: HTMLElement, items: readonly StoredItem[]): void {
  const rows = items.map(({ kind, name, bytes }) => `${kind}: ${name} (${bytesOf(bytes)})`);
  if (rows.length === 0) rows.push('Nothing is stored.');
  list.replaceChildren(
    ...rows.map((text) => {
      const item = document.createElement('li');
      item.textContent = text;
      return item;
    }),
  );
}

function bytesOf(bytes: number): string {
  return bytes < 1_024 ? `${bytes} B` : `${(bytes / 1_024).toFixed(1)} KB`;
}
