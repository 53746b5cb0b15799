import { ConfigError } from '../settings/resolve-settings.js';
import type { CreateClient } from './connection/link.js';

/** A process starts without Redis if it cannot be reached within this time. */
export const REDIS_START_MS = 3_000;

/** @throws {ConfigError} the package `redis` is not installed. */
export async function importRedis(): Promise<CreateClient> {
  try {
    const { createClient } = await import('redis');
    return createClient;
  } catch (cause) {
    const message = 'REDIS_URL needs the package redis; install it: npm install redis';
    throw new ConfigError(message, { cause });
  }
}
