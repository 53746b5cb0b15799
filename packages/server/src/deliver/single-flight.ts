import { createHash } from 'node:crypto';
import type { GenerateRequest } from '../request.js';
import type { Generation } from './generation.js';

/** Lets identical requests at the same time share one generation, unless their cache mode says otherwise. */
export class SingleFlight {
  /** Running generations by the fingerprint of their request. */
  readonly #generations = new Map<string, Generation>();

  /** @returns the running generation that the request shares; undefined if it needs its own. */
  find(request: GenerateRequest, fingerprint: string): Generation | undefined {
    const generation = canShare(request) ? this.#generations.get(fingerprint) : undefined;
    return generation?.log.done === true ? undefined : generation;
  }

  /** Identical requests share `generation` from now on. */
  add(request: GenerateRequest, fingerprint: string, generation: Generation): void {
    if (!canShare(request)) return;
    generation.fingerprint = fingerprint;
    this.#generations.set(fingerprint, generation);
  }

  /** Later identical requests start a new generation. */
  remove(generation: Generation): void {
    const { fingerprint } = generation;
    if (fingerprint === undefined || this.#generations.get(fingerprint) !== generation) return;
    this.#generations.delete(fingerprint);
  }
}

/** @param body the request as JSON. @returns equal strings for identical requests only. */
export function fingerprintOf(body: string): string {
  return createHash('sha256').update(body).digest('base64');
}

/**
 * The tools of a client are its own, so a request with tools is answered alone.
 *
 * @returns true if the request may share the generation of an identical one.
 */
export function canShare({ options, clientTools = [] }: GenerateRequest): boolean {
  return clientTools.length === 0 && (options?.cache ?? 'default') === 'default';
}
