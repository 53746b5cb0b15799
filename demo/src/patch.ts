/**
 * Makes the children of `parent` from index `from` on equal to `wanted`, and leaves every node
 * that is right already: a selection, a scrolled code block and an opened `<details>` survive.
 */
export function patchChildren(parent: Element, wanted: readonly ChildNode[], from = 0): void {
  let current: ChildNode | null = parent.childNodes[from] ?? null;
  for (const node of wanted) {
    if (current === null) {
      parent.append(node);
      continue;
    }
    const following: ChildNode | null = current.nextSibling;
    patchNode(current, node);
    current = following;
  }
  while (current !== null) {
    const following: ChildNode | null = current.nextSibling;
    current.remove();
    current = following;
  }
}

function patchNode(current: ChildNode, wanted: ChildNode): void {
  if (current.isEqualNode(wanted)) return;
  if (current instanceof Text && wanted instanceof Text) patchText(current, wanted.data);
  else if (isAlike(current, wanted)) patchChildren(current, [...wanted.childNodes]);
  else current.replaceWith(wanted);
}

/** Appending keeps a selection inside the text; setting it would collapse the selection. */
function patchText(current: Text, wanted: string): void {
  if (wanted.startsWith(current.data)) current.appendData(wanted.slice(current.length));
  else current.data = wanted;
}

function isAlike(current: ChildNode, wanted: ChildNode): current is Element & ChildNode {
  return (
    current instanceof Element &&
    wanted instanceof Element &&
    current.cloneNode(false).isEqualNode(wanted.cloneNode(false))
  );
}
