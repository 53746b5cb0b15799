/** Shows a screen, and a button that takes it away and brings it back. `mount` returns its unmount. */
export function showScreen(mount: (target: HTMLElement) => () => void): void {
  const toggle = document.createElement('button');
  let close: (() => void) | undefined;

  function open(): void {
    const target = document.createElement('main');
    document.body.append(target);
    const unmount = mount(target);
    toggle.textContent = 'Close';
    close = () => {
      unmount();
      target.remove();
      toggle.textContent = 'Open';
      close = undefined;
    };
  }

  toggle.addEventListener('click', () => (close ?? open)());
  document.body.append(toggle);
  open();
}
