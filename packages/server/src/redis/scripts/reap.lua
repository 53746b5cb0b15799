-- The milliseconds until a stream is waited for no more; it ends if there are none: sid, entry, code, retention
local due = redis.call('ZSCORE', base .. ':due', ARGV[1])
if not due then
  return 0
end
local left = tonumber(due) - now()
if left > 0 then
  return left
end
cancel(ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]))
return 0
