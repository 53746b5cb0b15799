import { iconButton } from '../dom.js';

const SHOWN_MS = 2_000;

/** A button that copies `text()`, and says for a moment whether it did. */
export function createCopyButton(label: string, text: () => string): HTMLButtonElement {
  const button = iconButton('copy', label, { 'data-testid': 'copy' });
  let timer: ReturnType<typeof setTimeout> | undefined;

  function showOutcome(outcome: 'copied' | 'refused' | undefined): void {
    const words = { copied: 'Copied', refused: 'The browser does not allow copying' };
    const name = outcome === undefined ? label : words[outcome];
    button.title = name;
    button.setAttribute('aria-label', name);
    if (outcome === undefined) delete button.dataset['outcome'];
    else button.dataset['outcome'] = outcome;
    const shown = { copied: 'check', refused: 'alert' };
    button
      .querySelector('use')
      ?.setAttribute('href', `#icon-${outcome === undefined ? 'copy' : shown[outcome]}`);
  }

  button.addEventListener('click', () => {
    // Pages on plain HTTP have no clipboard.
    const writing = navigator.clipboard?.writeText(text()) ?? Promise.reject(new Error('none'));
    writing
      .then(
        () => showOutcome('copied'),
        () => showOutcome('refused'),
      )
      .finally(() => {
        clearTimeout(timer);
        timer = setTimeout(() => showOutcome(undefined), SHOWN_MS);
      });
  });
  return button;
}
