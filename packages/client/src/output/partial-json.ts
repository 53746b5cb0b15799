import { JSONParser, type ParsedElementInfo } from '@streamparser/json';

type Key = string | number;
type Container = Record<Key, unknown> | unknown[];

/** Parses JSON while it arrives. */
export interface PartialJson {
  /**
   * Adds a piece of the text. Its cost depends on the piece, on the string that is open, and on the number
   * of members of the objects and lists that are open, not on the length of the text.
   *
   * @returns the value so far; undefined if there is none yet, or the text is not JSON. Complete objects and
   * lists stay the same objects.
   */
  add(text: string): unknown;
}

export function createPartialJson(): PartialJson {
  let newest: ParsedElementInfo | undefined;
  let isBroken = false;
  const parser = new JSONParser({
    emitPartialTokens: true,
    emitPartialValues: true,
    // The strings of a model are short, and a buffer would delay its content.
    stringBufferSize: 0,
  });
  parser.onValue = (element) => void (newest = element);
  parser.onError = () => void (isBroken = true);
  return {
    add(text) {
      if (!isBroken && !parser.isEnded) {
        try {
          parser.write(text);
        } catch {
          isBroken = true;
        }
      }
      return newest === undefined || isBroken ? undefined : rootOf(newest);
    },
  };
}

/** Copies the objects and lists that are still open, because the parser goes on changing them. */
function rootOf({ value, key, parent, stack, partial }: ParsedElementInfo): unknown {
  if (parent === undefined) return value;
  let node = copyOf(parent);
  if (partial && value !== undefined) node[key as never] = value;
  for (const outer of stack.slice(1).toReversed()) {
    const copy = copyOf(outer.value);
    copy[outer.key as never] = node;
    node = copy;
  }
  return node;
}

function copyOf(container: Container): Container {
  return Array.isArray(container) ? [...container] : { ...container };
}
