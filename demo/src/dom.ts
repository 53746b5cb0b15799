type Attributes = Readonly<Record<string, string | boolean>>;

const SVG = 'http://www.w3.org/2000/svg';

/** A new element. An attribute that is `true` is empty, and one that is `false` is left out. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const created = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false) created.setAttribute(name, value === true ? '' : value);
  }
  created.append(...children);
  return created;
}

/** An icon of the sprite in index.html, such as `copy`. It has no name of its own. */
export function icon(name: string): SVGElement {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 16 16');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** A button that shows only an icon. Its name is also its tooltip. */
export function iconButton(
  name: string,
  label: string,
  attributes: Attributes = {},
): HTMLButtonElement {
  return element(
    'button',
    { type: 'button', class: 'icon-button', 'aria-label': label, title: label, ...attributes },
    icon(name),
  );
}

/** Shows `text` in an element that is hidden while there is none. */
export function showText(target: HTMLElement, text: string): void {
  if (target.textContent !== text) target.textContent = text;
  target.hidden = text === '';
}

/** Makes the children of `parent` exactly `wanted`, and moves only those that are not in their place. */
export function placeChildren(parent: Element, wanted: readonly Element[]): void {
  const kept = new Set(wanted);
  const removed = Array.from(parent.children).filter((child) => !kept.has(child));
  for (const child of removed) child.remove();
  wanted.forEach((child, index) => {
    const current = parent.children[index];
    if (current !== child) parent.insertBefore(child, current ?? null);
  });
}
