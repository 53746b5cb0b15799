import { catchError, from, map, of, Subject, switchMap } from 'rxjs';
import { find } from '../find.js';
import { renderMarkdown } from '../markdown.js';
import { slug } from './slug.js';

const root = '/docs/';

/** Opens links to the documentation, wherever on the page they are, in `dialog`. */
export function createDocsDialog(dialog: HTMLDialogElement): void {
  const title = find(dialog, '#docs-title', HTMLElement);
  const file = find(dialog, '#docs-file', HTMLAnchorElement);
  const close = find(dialog, '#docs-close', HTMLButtonElement);
  const body = find(dialog, '#docs-body', HTMLElement);
  const opened = new Subject<URL>();

  opened
    .pipe(
      switchMap((url) =>
        from(load(url)).pipe(
          map(renderMarkdown),
          catchError(() => of('This page of the documentation could not be loaded.')),
          map((content) => ({ url, content })),
        ),
      ),
    )
    .subscribe(({ url, content }) => {
      body.replaceChildren(content);
      for (const link of body.querySelectorAll('a[href]')) resolve(link, url);
      scrollTo(url.hash);
    });

  function open(url: URL): void {
    title.textContent = decodeURIComponent(url.pathname.slice(root.length));
    file.href = url.href;
    body.replaceChildren('Loading…');
    if (!dialog.open) dialog.showModal();
    opened.next(url);
  }

  function scrollTo(hash: string): void {
    const wanted = decodeURIComponent(hash.slice(1));
    const headings = [...body.querySelectorAll('h1, h2, h3, h4, h5, h6')];
    const heading = headings.find(({ textContent }) => slug(textContent ?? '') === wanted);
    if (heading) heading.scrollIntoView();
    else body.scrollTop = 0;
    body.focus({ preventScroll: true });
  }

  document.addEventListener('click', (event) => {
    const url = docsUrl(event);
    if (url === undefined) return;
    event.preventDefault();
    open(url);
  });
  close.addEventListener('click', () => dialog.close());
  dialog.addEventListener('click', (event) => {
    // The backdrop counts as the dialog itself; anything inside is another element.
    if (event.target === dialog) dialog.close();
  });
}

/** @returns the target of a plain click on a link to the documentation; undefined for any other click. */
function docsUrl(event: MouseEvent): URL | undefined {
  if (event.defaultPrevented || event.button !== 0) return undefined;
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return undefined;
  const link = event.target instanceof Element ? event.target.closest('a[href]') : null;
  if (!(link instanceof HTMLAnchorElement) || link.id === 'docs-file') return undefined;
  const url = new URL(link.href);
  return url.origin === location.origin && url.pathname.startsWith(root) ? url : undefined;
}

async function load(url: URL): Promise<string> {
  const response = await fetch(url);
  // A development server answers an unknown path with the page itself.
  const isPage = response.headers.get('content-type')?.includes('text/html') ?? false;
  if (!response.ok || isPage) throw new Error(`unable to load ${url.pathname}: ${response.status}`);
  return response.text();
}

/** A link in a file is relative to the file, not to this page. */
function resolve(link: Element, file: URL): void {
  const url = new URL(link.getAttribute('href') ?? '', file);
  link.setAttribute('href', url.href);
  if (url.origin === location.origin && url.pathname.startsWith(root)) {
    link.removeAttribute('target');
  }
}
