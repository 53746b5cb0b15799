/** The key under which `public/theme.js` finds the choice before the page is drawn. */
const KEY = 'rivulet-demo:theme';

/** Makes the radio buttons in `group` choose between the system's colors, light and dark. */
export function createThemeSwitch(group: HTMLElement): void {
  const { documentElement: page } = document;
  const chosen = page.dataset['theme'] ?? 'system';
  for (const radio of group.querySelectorAll('input')) radio.checked = radio.value === chosen;
  group.addEventListener('change', ({ target }) => {
    if (!(target instanceof HTMLInputElement)) return;
    if (target.value === 'system') delete page.dataset['theme'];
    else page.dataset['theme'] = target.value;
    try {
      localStorage.setItem(KEY, target.value);
    } catch {
      // The browser blocks storage; the choice holds until the page is closed.
    }
  });
}
