import type { TestProject } from 'vitest/node';
import { runRedis } from './redis.js';

/** Starts the Redis over which `startServer` and the conformance server keep their streams. */
export default async function setUp({ provide }: TestProject): Promise<() => Promise<void>> {
  const redis = await runRedis();
  provide('redisUrl', redis.url);
  return () => redis.end();
}
