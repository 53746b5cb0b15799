import type { ConnectionState } from '@rivulet/client';
import type { Observable } from 'rxjs';

const LABELS = {
  idle: 'Not connected',
  connecting: 'Connecting…',
  connected: 'Connected',
  unreachable: 'Reconnecting…',
  offline: 'Offline',
  refused: 'Refused',
  closed: 'Closed',
};

/** Shows the state of the connection in a word. The status line says more. */
export function showConnection(badge: HTMLElement, connection$: Observable<ConnectionState>): void {
  connection$.subscribe((state) => {
    const shown = state.status === 'reconnecting' ? state.reason : state.status;
    badge.dataset['connection'] = shown;
    badge.textContent = LABELS[shown];
  });
}
