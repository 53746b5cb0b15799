-- Announces a version of the keys: key, version, lease -> the other versions whose processes are there
local versions, version, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
local at = now()
redis.call('ZREMRANGEBYSCORE', versions, '-inf', at)
redis.call('ZADD', versions, at + lease, version)
redis.call('PEXPIRE', versions, lease)
local others = {}
for _, other in ipairs(redis.call('ZRANGE', versions, 0, -1)) do
  if other ~= version then
    others[#others + 1] = other
  end
end
return others
