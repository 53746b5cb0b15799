import type { Candidate, Provider, Route } from '@rivulet/server';

export const PATIENT = { firstChunkMs: 60_000, stallMs: 60_000, totalMs: 60_000 };

/** The providers in their order, none in a hurry. */
export function routeOf(first: Provider, ...rest: Provider[]): Route {
  return [candidateOf(first), ...rest.map((provider) => candidateOf(provider))];
}

/** A provider in no hurry, but for what the test says. */
export function candidateOf(
  provider: Provider,
  {
    deadlines,
    ...rest
  }: Partial<Omit<Candidate, 'deadlines'>> & { deadlines?: Partial<typeof PATIENT> } = {},
): Candidate {
  return { provider, deadlines: { ...PATIENT, ...deadlines }, ...rest };
}
