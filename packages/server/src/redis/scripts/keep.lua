-- Keeps a complete answer; the oldest ones leave for it: key, answer, principal ('' for none), its hash, time to
-- live, most bytes of all answers
local name, answer, principal, owner = unpack(ARGV, 1, 4)
local ttl, most = tonumber(ARGV[5]), tonumber(ARGV[6])
if redis.call('EXISTS', key('cf', owner)) == 1 then
  return 0
end
local at = now()
-- Members of the index are `size:key`; its scores are the times at which answers expire.
local index, total, own = base .. ':ci', base .. ':cb', key('cp', owner)
local size = #answer + 2 * #name + #principal + 400
for _, member in ipairs(redis.call('ZRANGEBYSCORE', index, '-inf', at, 'LIMIT', 0, 100)) do
  drop_cached(member)
end
local before = redis.call('HGET', key('c', name), 'm')
if before then
  drop_cached(before)
end
while tonumber(redis.call('GET', total) or 0) + size > most do
  local oldest = redis.call('ZRANGE', index, 0, 0)[1]
  if not oldest then
    return 0
  end
  drop_cached(oldest)
end
local member = size .. ':' .. name
redis.call('HSET', key('c', name), 'a', answer, 'p', principal, 'm', member)
redis.call('PEXPIRE', key('c', name), ttl)
if redis.call('ZADD', index, at + ttl, member) == 1 then
  redis.call('INCRBY', total, size)
end
redis.call('ZREMRANGEBYSCORE', own, '-inf', at)
redis.call('ZADD', own, at + ttl, name)
for _, each in ipairs({ index, total, own }) do
  redis.call('PEXPIRE', each, math.max(ttl, redis.call('PTTL', each)))
end
return 1
