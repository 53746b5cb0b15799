import type { CreateClient } from '../deliver/redis/connection/link.js';
import { ConfigError } from '../settings/resolve-settings.js';

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
