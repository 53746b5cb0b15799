type Principal = string | symbol;

interface Request {
  readonly principal: Principal;
}

export interface Contenders<R> {
  /** Requests that hold a slot, in the order in which they will release it. */
  running: readonly R[];
  /** Requests that go before all others, in their order. */
  underWay: readonly R[];
  /** The other requests of each principal, in their order. Principals are in the order of their turns. */
  waiting: ReadonlyMap<Principal, readonly R[]>;
}

/**
 * The order in which waiting requests get a slot if nothing else comes. Each released slot goes to the
 * principal that holds the fewest; among equals, to the one whose count has not changed for the
 * longest time. The cost grows with the number of requests, not with that of their pairs.
 */
export function fairOrder<R extends Request>({ running, underWay, waiting }: Contenders<R>): R[] {
  const order: R[] = [];
  const held = new Map<Principal, number>();
  const next = new Map<Principal, number>();
  /** Principals that wait, by the number of slots that they hold. */
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
