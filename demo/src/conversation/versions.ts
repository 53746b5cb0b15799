import { element, iconButton } from '../dom.js';

export interface Pager {
  readonly root: HTMLElement;
  draw(message: { readonly version: number; readonly versionCount: number }): void;
}

/** Buttons to page through the versions of a message. Hidden while there is one. */
export function createPager(what: string, onSelect: (version: number) => void): Pager {
  const before = iconButton('left', `Previous version of the ${what}`, {
    'data-testid': 'version-before',
  });
  const after = iconButton('right', `Next version of the ${what}`, {
    'data-testid': 'version-after',
  });
  const place = element('span', { class: 'pager-place', 'data-testid': 'version' });
  const root = element('span', { class: 'pager', role: 'group', 'aria-label': 'Versions' });
  root.append(before, place, after);
  let shown = 0;
  let count = 1;

  before.addEventListener('click', () => {
    if (shown > 0) onSelect(shown - 1);
  });
  after.addEventListener('click', () => {
    if (shown + 1 < count) onSelect(shown + 1);
  });

  return {
    root,
    draw({ version, versionCount }) {
      shown = version;
      count = versionCount;
      root.hidden = versionCount < 2;
      place.textContent = `${version + 1} / ${versionCount}`;
      // A disabled button would lose the focus.
      before.setAttribute('aria-disabled', String(version === 0));
      after.setAttribute('aria-disabled', String(version + 1 === versionCount));
    },
  };
}
