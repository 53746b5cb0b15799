import type { Client } from '@rivulet/client';
import { find } from '../find.js';

/** Clears what this browser keeps, chats and answers, after the visitor has confirmed it in `dialog`. */
export function createClearData(
  button: HTMLButtonElement,
  dialog: HTMLDialogElement,
  client: Client,
  onCleared: () => void,
): void {
  const outcome = find(dialog, '#forget-outcome', HTMLElement);
  button.addEventListener('click', () => {
    outcome.textContent = '';
    dialog.showModal();
  });
  find(dialog, '#forget-confirm', HTMLButtonElement).addEventListener('click', () => void clear());
  find(dialog, '#forget-cancel', HTMLButtonElement).addEventListener('click', () => dialog.close());

  async function clear(): Promise<void> {
    try {
      await client.cache.clear();
    } catch {
      outcome.textContent = 'The browser did not clear everything. Try again.';
      return;
    }
    dialog.close();
    onCleared();
  }
}
