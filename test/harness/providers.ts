import type { ProviderConfig, Provider, Providers } from '@rivulet/server';

export const PATIENT = { firstChunkMs: 60_000, stallMs: 60_000, totalMs: 60_000 };

/** The providers in their order, none in a hurry. */
export function providersOf(first: Provider, ...rest: Provider[]): Providers {
  return [providerConfigOf(first), ...rest.map((provider) => providerConfigOf(provider))];
}

/** A provider in no hurry, but for what the test says. */
export function providerConfigOf(
  provider: Provider,
  {
    deadlines,
    ...rest
  }: Partial<Omit<ProviderConfig, 'deadlines'>> & { deadlines?: Partial<typeof PATIENT> } = {},
): ProviderConfig {
  return { provider, deadlines: { ...PATIENT, ...deadlines }, ...rest };
}
