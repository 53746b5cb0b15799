import { runRedis } from './redis.js';

/** Starts the Redis over which `startServer` and the conformance server keep their streams. */
export default async function setUp(): Promise<() => Promise<void>> {
  const redis = await runRedis();
  process.env['TEST_REDIS_URL'] = redis.url;
  return () => redis.end();
}
