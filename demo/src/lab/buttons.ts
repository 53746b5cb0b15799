import type { Client } from '@rivulet/client';
import { filter, firstValueFrom } from 'rxjs';
import type { Fault } from '../../lab/lab.js';
import { isFinal } from './column.js';
import type { LabServer } from './lab-server.js';

export interface ButtonActions {
  client: Client;
  server: LabServer;
  /** Called before the server causes a fault, with the button's label. */
  onFault(label: string): void;
}

const RATE_LIMIT_QUESTION = 'Exhausts the rate limit';

const OFFLINE_MS = 5_000;
const SLOW_MS = 15_000;
const MAX_LIMITED_QUESTIONS = 400;

interface Button {
  id: Fault | 'rate-limit' | 'second-tab';
  label: string;
  /** The line under the buttons after this one was pressed. */
  message: string;
  ms?: number;
}

const BUTTONS: Button[] = [
  { id: 'cut', label: 'Cut the connection', message: 'The connection was cut.' },
  {
    id: 'offline',
    label: 'Go offline for 5 s',
    message: 'Offline for 5 seconds.',
    ms: OFFLINE_MS,
  },
  {
    id: 'slow',
    label: 'Slow link: 1 KB/s',
    message: 'The link carries 1 KB a second, for 15 seconds.',
    ms: SLOW_MS,
  },
  {
    id: 'restart',
    label: 'Restart the server',
    message: 'The server restarts, and has lost the answers in its memory.',
  },
  {
    id: 'fail-now',
    label: 'Fail the model now',
    message: 'The model failed. Without an answer under way, the next one fails before its text.',
  },
  {
    id: 'fail-later',
    label: 'Fail the model later',
    message: 'The model fails after 300 more characters.',
  },
  {
    id: 'rate-limit',
    label: 'Exhaust the rate limit',
    message: 'Asking until the server refuses …',
  },
  {
    id: 'second-tab',
    label: 'Open in a second tab',
    message: 'The second tab shows the same answer.',
  },
];

/** Fills `host` with the buttons. `said` tells what the last one did. */
export function showButtons(
  host: HTMLElement,
  statusLine: HTMLElement,
  { client, server, onFault }: ButtonActions,
): void {
  host.append(...BUTTONS.map(createButton));

  function createButton(button: Button): HTMLElement {
    const element = document.createElement('button');
    element.type = 'button';
    element.textContent = button.label;
    element.dataset['fault'] = button.id;
    element.addEventListener('click', () => {
      statusLine.textContent = button.message;
      onClick(button).catch(() => {
        statusLine.textContent =
          'The server is not reached. Try again in a moment, or reload the page if `npm start` was run again.';
      });
    });
    return element;
  }

  async function onClick({ id, label, ms }: Button): Promise<void> {
    if (id === 'second-tab') return void window.open(location.href, '_blank', 'noopener');
    if (id === 'rate-limit') {
      const { asked, retryAfterMs } = await exhaustRateLimit(client);
      const seconds = Math.ceil(retryAfterMs / 1_000);
      statusLine.textContent = `The server took ${asked} questions and refused the next one. It takes a question again in ${seconds} s. Until then, your next question waits.`;
      return undefined;
    }
    onFault(label);
    await server.cause(id, ms);
    if (id === 'offline') pretendOffline(OFFLINE_MS);
  }
}

/** @returns the number of questions that the server took, and the time until it takes the next one. */
async function exhaustRateLimit(client: Client): Promise<{ asked: number; retryAfterMs: number }> {
  for (let asked = 0; asked < MAX_LIMITED_QUESTIONS; asked += 1) {
    const answer = client.start({ query: RATE_LIMIT_QUESTION, options: { cache: 'no-store' } });
    const { error } = await firstValueFrom(
      answer.state$.pipe(
        filter(({ requestId, status }) => requestId !== undefined || isFinal(status)),
      ),
    );
    answer.cancel();
    if (error !== undefined) return { asked, retryAfterMs: error.retryAfterMs ?? 0 };
  }
  return { asked: MAX_LIMITED_QUESTIONS, retryAfterMs: 0 };
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
