import { createHash } from 'node:crypto';
import type { GenerateRequest } from '../request.js';
import type { Generation } from './generation.js';

/** Lets identical concurrent requests share one generation, unless their cache mode forbids it. */
export class SingleFlight {
  /** The running generations by the fingerprint of their request. */
  readonly #generations = new Map<string, Generation>();

  /** @returns the running generation that the request shares; undefined if it needs its own. */
  find(request: GenerateRequest, fingerprint: string): Generation | undefined {
    const generation = canShare(request) ? this.#generations.get(fingerprint) : undefined;
    return generation?.log.done === true ? undefined : generation;
  }

  /** Later identical requests share `generation`. */
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

/**
 * @returns the request without what does not change the answer: options that equal their default, empty lists,
 * empty options, the number of omitted messages, and the place in a queue.
 */
export function canonicalRequest(request: GenerateRequest): GenerateRequest {
  const { context = [], options = {}, omittedMessages: _, fairnessKey: __, ...others } = request;
  const { cache = 'default', thoughts, stop = [], ...parameters } = options;
  const given = {
    ...parameters,
    ...(stop.length > 0 && { stop }),
    ...(thoughts && { thoughts }),
    ...(cache !== 'default' && { cache }),
  };
  const hasOptions = Object.values(given).some((value) => value !== undefined);
  return {
    ...others,
    ...(context.length > 0 && { context }),
    ...(hasOptions && { options: given }),
  };
}

/** @param body the request as JSON. @returns equal strings for identical requests only. */
export function fingerprintOf(body: string): string {
  return createHash('sha256').update(body).digest('base64');
}

/**
 * A request with tools of the client is not shared, because each client runs its own tools.
 *
 * @returns true if the request may share the generation of an identical one.
 */
export function canShare({ options, clientTools = [] }: GenerateRequest): boolean {
  return clientTools.length === 0 && (options?.cache ?? 'default') === 'default';
}
