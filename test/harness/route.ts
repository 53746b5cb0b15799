import type { Provider, Route } from '@rivulet/server';

export const PATIENT = { firstChunkMs: 60_000, stallMs: 60_000, totalMs: 60_000 };

/** The providers in their order, none in a hurry. */
export function routeOf(first: Provider, ...rest: Provider[]): Route {
  const candidate = (provider: Provider) => ({ provider, deadlines: PATIENT });
  return [candidate(first), ...rest.map(candidate)];
}
