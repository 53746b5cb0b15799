import type { Chat, ChatSnapshot } from '@rivulet/client/chat';
import { distinctUntilChanged, map, merge, type Observable, scan, switchMap } from 'rxjs';
import { endingText } from '../conversation/ending.js';
import { type Status } from './status.js';

/** Announces to screen readers what happens, in sentences. The text of an answer is not announced. */
export function announce(
  region: HTMLElement,
  chat$: Observable<Chat>,
  status$: Observable<Status | undefined>,
): void {
  const endings$ = chat$.pipe(switchMap((chat) => chat.state$.pipe(scan(findEnded, noneEnded))));
  const ended$ = endings$.pipe(
    map(({ text: words }) => words),
    distinctUntilChanged(),
  );
  const statuses$ = status$.pipe(
    map((status) => (status === undefined ? '' : asSentence(status.text))),
    distinctUntilChanged(),
  );
  // An announcement about one chat is not true of another.
  chat$.subscribe(() => (region.textContent = ''));
  merge(ended$, statuses$).subscribe((words) => {
    if (words !== '') region.textContent = words;
  });
}

function asSentence(words: string): string {
  return /[.!?…]$/.test(words) ? words : `${words}.`;
}

interface Ended {
  /** The ids of the answers under way. */
  readonly running: ReadonlySet<string>;
  /** The newest ending in words, which differ from those of the ending before, so that both are announced. */
  readonly text: string;
}

const noneEnded: Ended = { running: new Set(), text: '' };

function findEnded(before: Ended, { messages }: ChatSnapshot): Ended {
  const running = new Set<string>();
  let { text: words } = before;
  for (const message of messages) {
    if (message.role !== 'assistant') continue;
    if (message.ending === undefined) {
      running.add(message.id);
      words = '';
    } else if (before.running.has(message.id)) {
      words = message.ending === 'complete' ? 'Response complete.' : `${endingText(message)}.`;
    }
  }
  return { running, text: words };
}
