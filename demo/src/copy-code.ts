/**
 * The button in the corner of a code block that copies its code. Its content is in a shadow tree, so that it is no
 * part of the answer's text.
 */
class CopyCode extends HTMLElement {
  connectedCallback(): void {
    if (this.shadowRoot !== null) return;
    const style = new CSSStyleSheet();
    style.replaceSync(CSS_TEXT);
    const root = this.attachShadow({ mode: 'open', delegatesFocus: true });
    root.adoptedStyleSheets = [style];
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = 'Copy';
    button.ariaLabel = 'Copy code';
    const status = document.createElement('span');
    status.role = 'status';
    button.addEventListener('click', () => void this.#copy(button, status));
    root.append(button, status);
  }

  async #copy(button: HTMLButtonElement, status: HTMLElement): Promise<void> {
    const code = this.parentElement?.querySelector('code')?.textContent ?? '';
    // Pages that are not served from a secure origin have no clipboard.
    const outcome = await navigator.clipboard?.writeText(code.replace(/\n$/, '')).then(
      () => 'Copied',
      () => undefined,
    );
    status.textContent = button.textContent = outcome ?? 'Not allowed';
    setTimeout(() => {
      button.textContent = 'Copy';
      status.textContent = '';
    }, 2_000);
  }
}

const CSS_TEXT = `
  :host { display: block; }
  button {
    padding: 0.2rem 0.55rem;
    border: 1px solid var(--line);
    border-radius: 0.4rem;
    background: var(--code);
    color: var(--quiet);
    font: 0.75rem/1.4 var(--sans);
    cursor: pointer;
  }
  button:hover { color: inherit; border-color: var(--line-strong); }
  button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
  span { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
`;

customElements.define('copy-code', CopyCode);

/** A button for the `code` element beside it. */
export function createCopyButton(): HTMLElement {
  return new CopyCode();
}
