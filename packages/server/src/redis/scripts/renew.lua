-- Keeps what belongs to logs that their owner still writes: live; then gids
local live = tonumber(ARGV[1])
for i = 2, #ARGV do
  local gid = ARGV[i]
  local log = redis.call('HMGET', key('g', gid), 'done', 'stop', 'flight')
  if not log[1] and not log[2] then
    for _, kind in ipairs({ 'g', 'l', 'q', 'm', 'f', 'a' }) do
      redis.call('PEXPIRE', key(kind, gid), live)
    end
    if log[3] and redis.call('GET', key('fl', log[3])) == gid then
      redis.call('PEXPIRE', key('fl', log[3]), live)
    end
    for _, sid in ipairs(redis.call('SMEMBERS', key('m', gid))) do
      local principal = redis.call('HGET', key('s', sid), 'principal')
      redis.call('PEXPIRE', key('s', sid), live)
      redis.call('PEXPIRE', key('r', sid), live)
      if principal then
        redis.call('PEXPIRE', key('p', principal), live)
        redis.call('PEXPIRE', key('h', principal), live)
      end
    end
  end
end
return 1
