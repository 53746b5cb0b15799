type Principal = string | symbol;

interface Request {
  readonly principal: Principal;
}

export interface Contenders<R> {
  /** Requests with a slot, in the order in which they release it. */
  running: readonly R[];
  /** Requests that go before all others, in order. */
  underWay: readonly R[];
  /** The other requests of each principal, in order. The principals are in the order of their turns. */
  waiting: ReadonlyMap<Principal, readonly R[]>;
}

/**
 * Computes the order in which waiting requests get a slot if no other request arrives. Each released slot
 * goes to the principal with the fewest slots; among equals, to the one whose count has not changed for the
 * longest time. The cost is linear in the number of requests.
 */
export function fairOrder<R extends Request>({ running, underWay, waiting }: Contenders<R>): R[] {
  const order: R[] = [];
  const held = new Map<Principal, number>();
  const next = new Map<Principal, number>();
  /** The waiting principals, by the number of their slots. */
  const rings: Set<Principal>[] = [];
  let fewest = 0;

  function hasMore(principal: Principal): boolean {
    return (next.get(principal) ?? 0) < (waiting.get(principal)?.length ?? 0);
  }

  function setHeld(principal: Principal, count: number): void {
    rings[held.get(principal) ?? 0]?.delete(principal);
    held.set(principal, count);
    if (!hasMore(principal)) return;
    (rings[count] ??= new Set()).add(principal);
    fewest = Math.min(fewest, count);
  }

  function takeNext(): R | undefined {
    while (fewest < rings.length) {
      for (const principal of rings[fewest] ?? []) {
        const index = next.get(principal) ?? 0;
        next.set(principal, index + 1);
        return waiting.get(principal)?.[index];
      }
      fewest += 1;
    }
    return undefined;
  }

  for (const { principal } of running) held.set(principal, (held.get(principal) ?? 0) + 1);
  for (const principal of waiting.keys()) setHeld(principal, held.get(principal) ?? 0);

  for (let step = 0; ; step++) {
    const released = running[step] ?? order[step - running.length];
    if (released) setHeld(released.principal, (held.get(released.principal) ?? 1) - 1);
    const request = underWay[step] ?? takeNext();
    if (request === undefined) return order;
    order.push(request);
    setHeld(request.principal, (held.get(request.principal) ?? 0) + 1);
  }
}
