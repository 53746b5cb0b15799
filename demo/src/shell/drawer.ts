const NARROW = matchMedia('(width < 48rem)');

export interface Drawer {
  close(): void;
}

/**
 * Makes `sidebar` a drawer over `page` where the window is narrow. Elsewhere it is always beside the page. The
 * link `skip` leads into the page.
 */
export function createDrawer(
  sidebar: HTMLElement,
  page: HTMLElement,
  { open, close, backdrop, skip }: Record<'open' | 'close' | 'backdrop' | 'skip', HTMLElement>,
): Drawer {
  function set(isOpen: boolean): void {
    if (isOpen === sidebar.classList.contains('open')) return;
    sidebar.classList.toggle('open', isOpen);
    backdrop.hidden = !isOpen;
    page.inert = skip.inert = isOpen;
    open.setAttribute('aria-expanded', String(isOpen));
    if (isOpen) close.focus();
    else if (NARROW.matches) open.focus();
  }

  open.addEventListener('click', () => set(true));
  close.addEventListener('click', () => set(false));
  backdrop.addEventListener('click', () => set(false));
  sidebar.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || event.defaultPrevented || !page.inert) return;
    event.preventDefault();
    set(false);
  });
  NARROW.addEventListener('change', () => set(false));
  return { close: () => set(false) };
}
