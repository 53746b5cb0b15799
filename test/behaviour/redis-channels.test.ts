import { createLogger } from '@rivulet/server';
import { createClient } from 'redis';
import { expect, it, onTestFinished, vi } from 'vitest';
import { RedisConnection } from '../../packages/server/src/redis/connection/connection.js';
import { startRedis } from '../harness/redis.js';

it('a channel that is subscribed to again before its unsubscription is answered delivers', async () => {
  const redis = await startRedis();
  const connection = await new Promise<RedisConnection>((resolve) => {
    const opened: RedisConnection = new RedisConnection(
      { url: redis.url, ca: undefined, prefix: 'p', node: 'n', logger: createLogger('silent') },
      createClient,
      { onUp: () => resolve(opened), onDown() {}, onMessage() {} },
    );
    onTestFinished(() => opened.close());
  });
  const heard: string[] = [];
  const channel = connection.key('pc', 'me');
  await connection.subscribe('pc:me', (message) => void heard.push(`first ${message}`));
  const left = connection.unsubscribe('pc:me');
  await connection.subscribe('pc:me', (message) => void heard.push(`second ${message}`));
  await left;
  await redis.command('PUBLISH', channel, 'change');
  await vi.waitFor(() => expect(heard).toEqual(['second change']));
});
