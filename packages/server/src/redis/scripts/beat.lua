-- A node says that it lives, and ends the streams that nobody waits for if `reaps` is 1.
-- It takes nothing over if `drains` is 1.
-- node, lease, live, entry, code, retention, count, reaps, drains -> the number of other nodes that take over, the
-- dead ones, the gids that this one owns, and the milliseconds until the next lease of another node ends
local node, lease, live = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local at = now()
redis.call('ZADD', base .. ':n', at + lease, node)
redis.call('PEXPIRE', base .. ':n', live)
redis.call('PEXPIRE', key('o', node), live)
local draining = base .. ':dn'
if ARGV[9] == '1' then
  redis.call('ZADD', draining, at + lease, node)
  redis.call('PEXPIRE', draining, lease)
end
if ARGV[8] == '1' then
  reap(ARGV[4], ARGV[5], tonumber(ARGV[6]), at)
end
if redis.call('EXISTS', base .. ':due') == 1 then
  redis.call('PEXPIRE', base .. ':due', live)
end
tell(node, '"beat",' .. ARGV[7])
local others, next_end = 0, lease
local leases = redis.call('ZRANGEBYSCORE', base .. ':n', '(' .. at, '+inf', 'WITHSCORES')
for i = 1, #leases, 2 do
  local other = leases[i]
  if other ~= node then
    next_end = math.min(next_end, leases[i + 1] - at)
  end
  if other ~= node and tonumber(redis.call('ZSCORE', draining, other) or 0) <= at then
    others = others + 1
  end
end
return {
  others,
  redis.call('ZRANGEBYSCORE', base .. ':n', '-inf', at),
  redis.call('SMEMBERS', key('o', node)),
  next_end,
}
