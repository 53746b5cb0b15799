import type { LabDependencies } from './lab/lab.js';

/**
 * Mounts "Try to break it" into `host`, and shows the button that opens it, where the server of the page offers
 * that: under `npm start` on this machine. Other builds of the page do not have its code.
 */
export async function loadLab(
  host: HTMLElement,
  toggle: HTMLButtonElement,
  dependencies: LabDependencies,
): Promise<void> {
  if (!import.meta.env.HAS_LAB) return;
  const response = await fetch('/lab/session').catch(() => undefined);
  if (!response?.ok) return;
  const { token } = (await response.json()) as { token: string };
  const { mountLab } = await import('./lab/lab.js');
  const draw = mountLab(host, dependencies, token);
  toggle.hidden = false;
  toggle.addEventListener('click', () => {
    host.hidden = !host.hidden;
    toggle.ariaExpanded = String(!host.hidden);
    if (!host.hidden) draw();
  });
}
