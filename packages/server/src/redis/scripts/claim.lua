-- Takes over logs of a dead node; or, where both nodes are the same, those of its own that it does not write, which
-- it names: dead, node, most, live, gids -> for each: gid, fence, head, attempt, request, streams
local dead, node, most, live = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local gids = { unpack(ARGV, 5) }
if dead ~= node then
  local lease = redis.call('ZSCORE', base .. ':n', dead)
  if lease and tonumber(lease) > now() then
    return {}
  end
  gids = redis.call('SRANDMEMBER', key('o', dead), most)
end
local claimed = {}
for _, gid in ipairs(gids) do
  local g = key('g', gid)
  redis.call('SREM', key('o', dead), gid)
  local log = redis.call('HMGET', g, 'fence', 'head', 'attempt', 'done', 'stop', 'node')
  local request = redis.call('GET', key('q', gid))
  if log[1] and request and not log[4] and not log[5] and log[6] == dead then
    redis.call('HSET', g, 'fence', log[1] + 1, 'node', node)
    redis.call('SADD', key('o', node), gid)
    redis.call('PEXPIRE', key('o', node), live)
    redis.call('SREM', key('f', gid), node)
    local streams = {}
    for _, sid in ipairs(redis.call('SMEMBERS', key('m', gid))) do
      local stream = redis.call('HMGET', key('s', sid), 'record', 'fp', 'detached')
      if stream[1] then
        streams[#streams + 1] = { sid, stream[1], stream[2], stream[3] or '' }
      end
    end
    claimed[#claimed + 1] = { gid, tostring(log[1] + 1), log[2], log[3], request, streams }
  end
end
if dead ~= node and redis.call('SCARD', key('o', dead)) == 0 then
  redis.call('ZREM', base .. ':n', dead)
end
return claimed
