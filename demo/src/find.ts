/** The one element that `selector` names, of the given kind; throws if the markup has none. */
export function find<T extends Element>(root: ParentNode, selector: string, kind: new () => T): T {
  const element = root.querySelector(selector);
  if (element instanceof kind) return element;
  throw new Error(`unable to build the page: no ${kind.name} matches ${selector}`);
}
