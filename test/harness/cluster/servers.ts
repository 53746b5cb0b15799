import { providerConfigOf } from '../providers.js';
import { startRedis, type TestRedis } from '../redis.js';
import { startServer, type TestServer } from '../rivulet.js';
import { type Stage, stage } from '../stage.js';

/** A server of this process, and its provider, which the test plays. */
export interface StagedNode extends Stage {
  readonly server: TestServer;
  readonly url: string;
}

/** Two servers of this process that share a Redis, and the slots of a provider if it has a `concurrency`. */
export async function cluster(
  { concurrency, ...options }: Parameters<typeof startServer>[1] & { concurrency?: number } = {},
  given?: TestRedis,
  url?: string,
): Promise<{ redis: TestRedis; a: StagedNode; b: StagedNode }> {
  const redis = given ?? (await startRedis());
  const start = async (): Promise<StagedNode> => {
    const played = stage();
    const shared = { url: url ?? redis.url, ...options.redis };
    const providers = [providerConfigOf(played.provider, { concurrency })] as const;
    const server = await startServer(played.provider, { providers, ...options, redis: shared });
    return { ...played, server, url: server.url };
  };
  // The first heartbeat of `a` finds `b`.
  const b = await start();
  const a = await start();
  return { redis, a, b };
}
