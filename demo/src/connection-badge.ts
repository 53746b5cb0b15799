import type { ConnectionStatus } from '@rivulet/client';
import type { Observable } from 'rxjs';

const words: Record<ConnectionStatus, string> = {
  connecting: 'Connecting…',
  connected: 'Connected',
  reconnecting: 'Connection lost, trying again…',
  offline: 'You are offline',
  closed: 'Closed',
};

/** Says how the connection is, in the words of a visitor. */
export function showConnection(
  element: HTMLElement,
  connection$: Observable<ConnectionStatus>,
): void {
  connection$.subscribe((status) => {
    element.dataset['connection'] = status;
    element.textContent = words[status];
  });
}
