import type { ConnectionState } from '@rivulet/client';
import type { Observable } from 'rxjs';

const words = {
  idle: 'Not connected',
  connecting: 'Connecting…',
  connected: 'Connected',
  unreachable: 'Connection lost, trying again…',
  offline: 'You are offline',
  refused: 'The server refused the connection',
  closed: 'Closed',
};

/** Shows the state of the connection in words for a visitor. */
export function showConnection(
  element: HTMLElement,
  connection$: Observable<ConnectionState>,
): void {
  connection$.subscribe((state) => {
    const shown = state.status === 'reconnecting' ? state.reason : state.status;
    element.dataset['connection'] = shown;
    element.textContent = words[shown];
  });
}
