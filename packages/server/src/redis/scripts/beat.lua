-- A node says that it lives, and ends the streams that nobody waits for if `reaps` is 1.
-- node, lease, live, entry, code, retention, count, reaps -> the number of other nodes, the dead ones, and the gids that
-- this one owns
local node, lease, live = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local at = now()
redis.call('ZADD', base .. ':n', at + lease, node)
redis.call('PEXPIRE', base .. ':n', live)
redis.call('PEXPIRE', key('o', node), live)
if ARGV[8] == '1' then
  reap(ARGV[4], ARGV[5], tonumber(ARGV[6]), at)
end
if redis.call('EXISTS', base .. ':due') == 1 then
  redis.call('PEXPIRE', base .. ':due', live)
end
tell(node, '"beat",' .. ARGV[7])
return {
  redis.call('ZCOUNT', base .. ':n', '(' .. at, '+inf') - 1,
  redis.call('ZRANGEBYSCORE', base .. ':n', '-inf', at),
  redis.call('SMEMBERS', key('o', node)),
}
