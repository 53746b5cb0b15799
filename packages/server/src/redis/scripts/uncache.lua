-- Removes the cached answers of a principal, here and in all nodes:
-- principal, its hash, how long none is kept for it, how long the count of removals is kept
local principal, owner, hold, counted = unpack(ARGV, 1, 4)
for _, name in ipairs(redis.call('ZRANGE', key('cp', owner), 0, -1)) do
  local answer = redis.call('HMGET', key('c', name), 'p', 'm')
  -- Another principal's request may have replaced it.
  if answer[1] == principal then
    drop_cached(answer[2])
  end
end
redis.call('DEL', key('cp', owner))
redis.call('SET', key('cf', owner), '1', 'PX', hold)
local count = redis.call('INCR', key('cv', 'removals'))
redis.call('PEXPIRE', key('cv', 'removals'), counted)
redis.call('PUBLISH', base .. ':cf', count .. ':' .. principal)
return 1
