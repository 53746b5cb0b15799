import type { ConnectionState } from '@rivulet/client';
import type { ChatSnapshot } from '@rivulet/client/chat';
import {
  combineLatest,
  distinctUntilChanged,
  map,
  type Observable,
  of,
  scan,
  switchMap,
  timer,
} from 'rxjs';
import { element } from '../dom.js';
import { runningAnswer, type StatusInput, type Status, createStatusText } from './status.js';

const TICK_MS = 500;

interface Running {
  readonly id: string;
  readonly since: number;
  readonly wasCut: boolean;
}

/** The status of the open chat, again with each second while that matters. */
export function createStatus(
  state$: Observable<ChatSnapshot>,
  connection$: Observable<ConnectionState>,
): Observable<Status | undefined> {
  return combineLatest([state$, connection$]).pipe(
    scan(nextState, undefined as StatusState | undefined),
    switchMap((followed) => {
      if (followed === undefined) return of(undefined);
      const { chat, connection, running } = followed;
      const situation = (): StatusInput => ({
        chat,
        connection,
        isCaughtUp: running?.wasCut === true && connection.status === 'connected',
        runningSince: running?.since ?? Date.now(),
        now: Date.now(),
      });
      const ticks$ = running === undefined ? of(0) : timer(0, TICK_MS);
      return ticks$.pipe(map(() => createStatusText(situation())));
    }),
    distinctUntilChanged(isSame),
  );
}

interface StatusState {
  readonly chat: ChatSnapshot;
  readonly connection: ConnectionState;
  readonly running: Running | undefined;
}

/** Remembers since when the answer under way runs, and whether it was cut off. */
function nextState(
  before: StatusState | undefined,
  [chat, connection]: [ChatSnapshot, ConnectionState],
): StatusState {
  const message = runningAnswer(chat);
  if (message === undefined) return { chat, connection, running: undefined };
  const { id, status } = message.answer;
  const known = before?.running?.id === id ? before.running : undefined;
  const isCut = status === 'reconnecting' || connection.status === 'reconnecting';
  const asked = message.parts.length === 1 ? message.createdAt : Date.now();
  const running = {
    id,
    since: known?.since ?? Math.min(asked, Date.now()),
    wasCut: (known?.wasCut ?? false) || isCut,
  };
  return { chat, connection, running };
}

function isSame(a: Status | undefined, b: Status | undefined): boolean {
  return a?.tone === b?.tone && a?.text === b?.text && a?.detail === b?.detail;
}

/** Shows the status as long as it is true. */
export function showStatus(line: HTMLElement, status$: Observable<Status | undefined>): void {
  status$.subscribe((status) => {
    line.dataset['tone'] = status?.tone ?? '';
    if (status === undefined) return line.replaceChildren();
    line.replaceChildren(
      element('span', { class: 'status-mark', 'aria-hidden': 'true' }),
      element('span', { class: 'status-words' }, status.text),
      element('span', { class: 'status-detail' }, status.detail),
    );
  });
}
