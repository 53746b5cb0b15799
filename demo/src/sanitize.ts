import createPurifier from 'dompurify';

const purifier = createPurifier(window);

const allowedTags = (
  'a abbr b blockquote br code dd del div dl dt em h1 h2 h3 h4 h5 h6 hr i ins kbd li ' +
  'mark ol p pre q s samp small span strong sub sup table tbody td tfoot th thead tr u ul var'
).split(' ');

const ownClass = /^hljs-[\w+#.-]+$|^[a-z]+_$|^(?:code|table|task|math)$/;

purifier.addHook('uponSanitizeAttribute', (_node, attribute) => {
  if (attribute.attrName !== 'class') return;
  // Other classes would let an answer dress up as a part of the page.
  attribute.attrValue = attribute.attrValue
    .split(/\s+/)
    .filter((name) => ownClass.test(name))
    .join(' ');
  if (attribute.attrValue === '') attribute.keepAttr = false;
});

purifier.addHook('afterSanitizeAttributes', (node) => {
  if (!(node instanceof HTMLAnchorElement) && node.nodeName !== 'A') return;
  const href = node.getAttribute('href');
  if (href === null || href.startsWith('#')) return;
  node.setAttribute('target', '_blank');
  node.setAttribute('rel', 'noopener noreferrer');
});

/** HTML that nobody vouches for, as nodes that can do nothing but be read. */
export function sanitize(html: string): DocumentFragment {
  return purifier.sanitize(html, {
    RETURN_DOM_FRAGMENT: true,
    ALLOWED_TAGS: allowedTags,
    ALLOWED_ATTR: [
      'href',
      'title',
      'class',
      'start',
      'value',
      'align',
      'colspan',
      'rowspan',
      'tabindex',
    ],
    ADD_ATTR: ['data-language'],
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    ALLOWED_URI_REGEXP: /^(?:(?:https?|mailto):|[^a-z]|[a-z+.-]+(?:[^a-z+.\-:]|$))/i,
  });
}
